"""Sound training loops as people write them, by name."""

from tests.checks.sound import accumulating, modes, plain, several

SOUND = plain.SOUND | modes.SOUND | accumulating.SOUND | several.SOUND

"""What to do about the errors that a first training step raises most often."""

from __future__ import annotations

import re

_ADVICE: tuple[tuple[str, str], ...] = (
    (r"no batch", "the loader must yield at least one batch: check the data set's length"),
    (r"expected one number", "return one number: drop reduction='none' or take .mean()"),
    (r"Target -?\d+ is out of bounds", "labels must run from 0 to the number of outputs - 1"),
    (r"mat1 and mat2 shapes", "the layer's input size differs from what reaches it: compare "
     "the two shapes in the message with the layer's in_features"),
    (r"must match the size of tensor|shape .* invalid", "print the shapes at that line: two "
     "sizes that must agree do not"),
    (r"expected scalar type Long|expected .*Long", "class labels must be int64: y.long()"),
    (r"expected .*dtype|should be the same|have the same dtype", "the input's dtype differs "
     "from the weights': convert it, usually x.float()"),
    (r"Expected more than 1 value per channel", "batch normalisation cannot train on one "
     "sample: use a larger batch or drop_last=True"),
    (r"missing \d+ required positional", "the model takes several inputs: yield them as "
     "(x1, x2, …, y), as a dict, or write training_step(model, batch)"),
    (r"positional arguments? but", "the model takes fewer inputs than the batch holds: write "
     "training_step(model, batch) returning the loss"),
    (r"no loss found|loss is a", "name the loss function `loss_fn`, or write "
     "training_step(model, batch) returning the loss"),
    (r"calls of manual_backward", "a training_step(model, batch) in the file that returns one of "
     "the losses is checked instead"),
    (r"the trainer has no", "a training_step(model, batch) in the file that does without is "
     "checked instead"),
    (r"elements of (input|target) should be between 0 and 1", "binary_cross_entropy takes "
     "probabilities: apply sigmoid to scores, or use BCEWithLogitsLoss; labels are 0 and 1"),
    (r"has no attribute 'module'", "checks run on the model inside DistributedDataParallel: write "
     "getattr(model, 'module', model)"),
    (r"out of memory", "use a smaller batch or --device cpu"),
    (r"device-side assert", "mostly a label or an index out of range: --device cpu names the line"),
    (r"on the same device|lengths. argument should be a 1D CPU", "make the tensor where the others "
     "are, as in torch.arange(n, device=x.device); --device cpu checks the rest"),
)  # fmt: skip


def advice_for(message: str) -> str:
    """One sentence for a known error, else how to reproduce it."""
    for pattern, text in _ADVICE:
        if re.search(pattern, message):
            return text
    return "fix the line above: the same error will stop your training"

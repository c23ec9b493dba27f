"""Loops of several models or optimizers. Read, never run."""

SOUND = {
    "gan-clip-g-only": """
for epoch in range(3):
    for real, _ in loader:
        z = torch.randn(len(real), 8)
        opt_d.zero_grad()
        loss_d = bce(D(real), ones) + bce(D(G(z).detach()), zeros)
        loss_d.backward()
        opt_d.step()
        opt_g.zero_grad()
        loss_g = bce(D(G(z)), ones)
        loss_g.backward()
        torch.nn.utils.clip_grad_norm_(G.parameters(), 1.0)
        opt_g.step()
""",
    "wgan": """
for epoch in range(3):
    for i, (real, _) in enumerate(loader):
        optimizer_D.zero_grad()
        fake = G(torch.randn(len(real), 8)).detach()
        loss_D = -D(real).mean() + D(fake).mean()
        loss_D.backward()
        optimizer_D.step()
        for p in D.parameters():
            p.data.clamp_(-0.01, 0.01)
        if i % n_critic == 0:
            optimizer_G.zero_grad()
            loss_G = -D(G(torch.randn(len(real), 8))).mean()
            loss_G.backward()
            optimizer_G.step()
""",
    "log-guard-step": """
for epoch in range(10):
    for i, (x, y) in enumerate(loader):
        optimizer.zero_grad()
        loss_fn(model(x), y).backward()
        optimizer.step()
        if i % 10 == 0:
            aux_optimizer.zero_grad()
            model.aux_loss().backward()
            aux_optimizer.step()
""",
    "cyclegan": """
for epoch in range(opt.epoch, opt.n_epochs):
    for i, batch in enumerate(dataloader):
        G_AB.train()
        G_BA.train()
        optimizer_G.zero_grad()
        fake = G_AB(batch["A"])
        loss_G = loss_gan(D_B(fake), valid) + loss_cycle(G_BA(fake), batch["A"])
        loss_G.backward()
        optimizer_G.step()
        optimizer_D_A.zero_grad()
        loss_D_A = (loss_gan(D_A(batch["A"]), valid) + loss_gan(D_A(fake.detach()), fake0)) / 2
        loss_D_A.backward()
        optimizer_D_A.step()
        if i % opt.sample_interval == 0:
            G_AB.eval()
            G_BA.eval()
            sample_images(i)
    lr_scheduler_G.step()
    lr_scheduler_D_A.step()
""",
    "teacher": """
for epoch in range(3):
    model.train()
    teacher.eval()
    for x, y in loader:
        with torch.no_grad():
            t = teacher(x)
        loss = kd(model(x), t, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
""",
    "enc-dec-train-loop": """
for epoch in range(3):
    for m in (encoder, decoder):
        m.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(decoder(encoder(x)), y)
        loss.backward()
        optimizer.step()
    encoder.eval()
    decoder.eval()
""",
    "for-o-in-opts": """
for epoch in range(10):
    for x, y in loader:
        for o in (opt_a, opt_b):
            o.zero_grad()
        loss = loss_fn(b(a(x)), y)
        loss.backward()
        for o in (opt_a, opt_b):
            o.step()
""",
    "listcomp-opts": """
for epoch in range(10):
    for x, y in loader:
        [o.zero_grad() for o in optimizers]
        loss = loss_fn(b(a(x)), y)
        loss.backward()
        [o.step() for o in optimizers]
""",
    "dqn": """
for episode in range(500):
    state, done = env.reset(), False
    while not done:
        action = select_action(state)
        next_state, reward, done, _ = env.step(action)
        memory.push(state, action, next_state, reward)
        if len(memory) >= BATCH_SIZE:
            batch = memory.sample(BATCH_SIZE)
            q = policy_net(batch.state).gather(1, batch.action)
            with torch.no_grad():
                target = batch.reward + GAMMA * target_net(batch.next_state).max(1)[0]
            loss = F.smooth_l1_loss(q, target[:, None])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_value_(policy_net.parameters(), 100)
            optimizer.step()
        state = next_state
    if episode % 10 == 0:
        target_net.load_state_dict(policy_net.state_dict())
        target_net.eval()
""",
    "ppo": """
for update in range(num_updates):
    agent.eval()
    rollout = collect(agent, envs)
    agent.train()
    for epoch in range(update_epochs):
        for idx in batches(rollout):
            loss = ppo_loss(agent, rollout, idx)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            optimizer.step()
""",
    "seq2seq": """
def train_epoch(dataloader, encoder, decoder, encoder_optimizer, decoder_optimizer, criterion):
    total_loss = 0
    for data in dataloader:
        inp, target = data
        encoder_optimizer.zero_grad()
        decoder_optimizer.zero_grad()
        enc_out, hidden = encoder(inp)
        dec_out, _, _ = decoder(enc_out, hidden, target)
        loss = criterion(dec_out.view(-1, dec_out.size(-1)), target.view(-1))
        loss.backward()
        encoder_optimizer.step()
        decoder_optimizer.step()
        total_loss += loss.item()
    return total_loss / len(dataloader)

def train(loader, encoder, decoder, n_epochs, lr=0.001):
    enc_opt = optim.Adam(encoder.parameters(), lr=lr)
    dec_opt = optim.Adam(decoder.parameters(), lr=lr)
    for epoch in range(1, n_epochs + 1):
        loss = train_epoch(loader, encoder, decoder, enc_opt, dec_opt, criterion)
encoder.train()
decoder.train()
train(loader, encoder, decoder, 80)
encoder.eval()
decoder.eval()
""",
}

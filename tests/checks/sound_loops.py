"""Sound training loops as people write them: text that is read and never run."""

SOUND = {
    "zero-at-end": """
for epoch in range(3):
    for x, y in loader:
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
""",
    "accumulate": """
accum = 4
for epoch in range(3):
    for i, (x, y) in enumerate(loader):
        loss = loss_fn(model(x), y) / accum
        loss.backward()
        if (i + 1) % accum == 0 or i + 1 == len(loader):
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
""",
    "lbfgs": """
opt = torch.optim.LBFGS(model.parameters())
for x, y in loader:
    def closure():
        opt.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        return loss
    opt.step(closure)
""",
    "grad-none": """
for epoch in range(3):
    for x, y in loader:
        for p in model.parameters():
            p.grad = None
        loss_fn(model(x), y).backward()
        optimizer.step()
""",
    "eval-restores": """
def evaluate(model, loader):
    model.eval()
    with torch.no_grad():
        acc = sum((model(x).argmax(1) == y).float().mean() for x, y in loader)
    model.train()
    return acc

def train():
    for epoch in range(3):
        for x, y in loader:
            optimizer.zero_grad()
            loss_fn(model(x), y).backward()
            optimizer.step()
        evaluate(model, val_loader)

if __name__ == "__main__":
    train()
""",
    "was-training": """
@torch.no_grad()
def evaluate(net, loader):
    was = net.training
    net.eval()
    total = sum(float(loss_fn(net(x), y)) for x, y in loader)
    net.train(was)
    return total
for epoch in range(3):
    for x, y in loader:
        optimizer.zero_grad()
        loss_fn(model(x), y).backward()
        optimizer.step()
    evaluate(model, val_loader)
""",
    "kfold": """
for fold in range(5):
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(3):
        model.train()
        for x, y in loaders[fold]:
            optimizer.zero_grad()
            loss_fn(model(x), y).backward()
            optimizer.step()
        model.eval()
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
    "amp": """
scaler = torch.amp.GradScaler("cuda")
for epoch in range(3):
    for x, y in loader:
        optimizer.zero_grad()
        with torch.autocast("cuda"):
            loss = loss_fn(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
""",
    "amp-accum": """
for epoch in range(3):
    for i, (x, y) in enumerate(loader):
        with torch.autocast("cuda"):
            loss = loss_fn(model(x), y)
            loss = loss / 4
        scaler.scale(loss).backward()
        if (i + 1) % 4 == 0:
            scaler.unscale_(optimizer)
            clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
""",
    "phases": """
for epoch in range(25):
    for phase in ["train", "val"]:
        if phase == "train":
            model.train()
        else:
            model.eval()
        for inputs, labels in dataloaders[phase]:
            optimizer.zero_grad()
            with torch.set_grad_enabled(phase == "train"):
                outputs = model(inputs)
                _, preds = torch.max(outputs, 1)
                loss = criterion(outputs, labels)
                if phase == "train":
                    loss.backward()
                    optimizer.step()
            running_corrects += torch.sum(preds == labels.data)
        if phase == "train":
            scheduler.step()
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
    "losses-loop": """
for epoch in range(3):
    for x, y in loader:
        optimizer.zero_grad()
        outs = model(x)
        for out, target in zip(outs, y):
            loss_fn(out, target).backward(retain_graph=True)
        optimizer.step()
""",
    "named-step-func": """
def step(model, batch, optimizer):
    x, y = batch
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss

def train(model, loader, optimizer, scheduler):
    model.train()
    for batch in loader:
        step(model, batch, optimizer)
    scheduler.step()

def test(model, loader):
    model.eval()
    for x, y in loader:
        pred = model(x).argmax(dim=1)
        correct = (pred == y).sum()

for epoch in range(1, 11):
    train(model, loader, optimizer, scheduler)
    test(model, test_loader)
""",
    "wrapper-step": """
class NoamOpt:
    def __init__(self, optimizer): self.optimizer = optimizer
noam = NoamOpt(optimizer)
for epoch in range(10):
    model.train()
    for x, y in loader:
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        noam.step()
""",
    "engine": """
for epoch in range(10):
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(engine(x), y)
        engine.backward(loss)
        engine.step()
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
    "maml": """
for it in range(100):
    meta_opt.zero_grad()
    for task in tasks:
        learner = copy.deepcopy(model)
        loss = adapt(learner, task)
        loss.backward()
        for p, q in zip(model.parameters(), learner.parameters()):
            p.grad = q.grad / len(tasks) if p.grad is None else p.grad + q.grad / len(tasks)
    meta_opt.step()
""",
    "fabric": """
for epoch in range(10):
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        accelerator.backward(loss)
        if accelerator.sync_gradients:
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        lr_scheduler.step()
""",
    "accelerate-accum": """
for epoch in range(10):
    for x, y in loader:
        with accelerator.accumulate(model):
            loss = loss_fn(model(x), y)
            accelerator.backward(loss)
            optimizer.step()
            lr_scheduler.step()
            optimizer.zero_grad()
""",
    "manual-sgd": """
for epoch in range(10):
    for x, y in loader:
        loss = loss_fn(model(x), y)
        loss.backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.1 * p.grad
                p.grad.zero_()
""",
    "iter-loader": """
it = iter(loader)
model.train()
for step in range(1000):
    try:
        x, y = next(it)
    except StopIteration:
        it = iter(loader)
        x, y = next(it)
    optimizer.zero_grad()
    loss_fn(model(x), y).backward()
    optimizer.step()
    scheduler.step()
    if step % 100 == 0:
        model.eval()
        validate()
        model.train()
""",
    "estimate-loss": """
@torch.no_grad()
def estimate_loss():
    out = {}
    model.eval()
    for split in ["train", "val"]:
        losses = torch.zeros(200)
        for k in range(200):
            X, Y = get_batch(split)
            logits, loss = model(X, Y)
            losses[k] = loss.item()
        out[split] = losses.mean()
    model.train()
    return out
while True:
    if iter_num % 100 == 0:
        losses = estimate_loss()
    for micro_step in range(grad_accum):
        logits, loss = model(X, Y)
        loss = loss / grad_accum
        scaler.scale(loss).backward()
    if grad_clip != 0.0:
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    iter_num += 1
    if iter_num > max_iters:
        break
""",
    "torch-mnist-main": """
def train(args, model, device, train_loader, optimizer, epoch):
    model.train()
    for batch_idx, (data, target) in enumerate(train_loader):
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        output = model(data)
        loss = F.nll_loss(output, target)
        loss.backward()
        optimizer.step()
        if batch_idx % args.log_interval == 0:
            print(loss.item())
            if args.dry_run:
                break

def test(model, device, test_loader):
    model.eval()
    test_loss = 0
    correct = 0
    with torch.no_grad():
        for data, target in test_loader:
            output = model(data)
            test_loss += F.nll_loss(output, target, reduction='sum').item()
            pred = output.argmax(dim=1, keepdim=True)
            correct += pred.eq(target.view_as(pred)).sum().item()

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--epochs', type=int, default=14)
    args = parser.parse_args()
    model = Net().to(device)
    optimizer = optim.Adadelta(model.parameters(), lr=args.lr)
    scheduler = StepLR(optimizer, step_size=1, gamma=args.gamma)
    for epoch in range(1, args.epochs + 1):
        train(args, model, device, train_loader, optimizer, epoch)
        test(model, device, test_loader)
        scheduler.step()

if __name__ == '__main__':
    main()
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
    "module-fit": """
class Net(nn.Module):
    def fit(self, loader, optimizer, epochs=10):
        for epoch in range(epochs):
            self.train()
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(self(x), y).backward()
                optimizer.step()
            self.score(loader)
    def score(self, loader):
        self.eval()
        return [self(x) for x, _ in loader]
net = Net()
net.fit(loader, optimizer)
""",
    "subclass-optimizer": """
class SGD:
    def __init__(self, params, lr): self.params, self.lr = list(params), lr
    def zero_grad(self):
        for p in self.params: p.grad = None
    def step(self):
        for p in self.params: p.data -= self.lr * p.grad
sgd = SGD(model.parameters(), 0.1)
for epoch in range(10):
    for x, y in loader:
        sgd.zero_grad()
        loss_fn(model(x), y).backward()
        sgd.step()
""",
    "growing": """
for n_epochs in [1, 2, 5]:
    torch.manual_seed(0)
    model = make_model()
    opt = torch.optim.Adam(model.parameters())
    for _ in range(n_epochs):
        model.train()
        for x, y in loader:
            opt.zero_grad()
            loss_fn(model(x), y).backward()
            opt.step()
""",
    "dim0-argmax-time": """
for epoch in range(10):
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
    best = torch.stack(val_scores).argmax(0)
    if best == len(val_scores) - 1:
        torch.save(model.state_dict(), "best.pt")
""",
    "ensemble-vote-axis0": """
for epoch in range(10):
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
votes = torch.stack([m(x).argmax(1) for m in models])
labels_best = (scores.T.argmax(0) == y).float().mean()
""",
    "quickstart": """
for epoch in range(5):
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()

model.eval()
x, y = test_data[0][0], test_data[0][1]
with torch.no_grad():
    pred = model(x)
    predicted, actual = classes[pred[0].argmax(0)], classes[y]
    print(predicted == actual)
""",
    "one-by-one": """
for epoch in range(5):
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()

hits = 0
for x, y in test_set:
    out = model(x.unsqueeze(0)).squeeze(0)
    hits += int(torch.argmax(out, dim=0) == y)
""",
    "kfold-no-train": """
for tr, te in folds:
    model = Net()
    opt = torch.optim.Adam(model.parameters())
    for step in range(200):
        opt.zero_grad()
        loss_fn(model(X[tr]), Y[tr]).backward()
        opt.step()
    model.eval()
    scores.append(loss_fn(model(X[te]), Y[te]).item())
""",
    "accum-func": """
def compute_loss(model, x, y, k):
    out = model(x)
    return F.cross_entropy(out, y) / k
for epoch in range(5):
    for i, (x, y) in enumerate(loader):
        loss = compute_loss(model, x, y, 4)
        loss.backward()
        if (i + 1) % 4 == 0:
            optimizer.step(); optimizer.zero_grad()
""",
    "ds-accum": """
for epoch in range(5):
    for i, (x, y) in enumerate(loader):
        self.loss = loss_fn(model(x), y)
        self.loss /= 4
        self.loss.backward()
        if (i + 1) % 4 == 0:
            optimizer.step(); optimizer.zero_grad()
""",
}

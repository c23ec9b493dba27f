"""Loops of one model: how gradients are cleared and steps are taken. Read, never run."""

SOUND = {
    "zero-at-end": """
for epoch in range(3):
    for x, y in loader:
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
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
    "load-best-each-epoch": """
for epoch in range(30):
    net = load_checkpoint(f"ckpt_{epoch}.pt")
    net.train()
    opt = torch.optim.SGD(net.parameters(), lr=0.01)
    for x, y in loader:
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()
    save_checkpoint(net, f"ckpt_{epoch + 1}.pt")
""",
    "federated-flat": """
for epoch in range(30):
    local = copy.deepcopy(global_model)
    local.train()
    opt = torch.optim.SGD(local.parameters(), lr=0.01)
    for x, y in loader:
        opt.zero_grad()
        F.cross_entropy(local(x), y).backward()
        opt.step()
    global_model.load_state_dict(average(local, global_model))
""",
    "adversarial-training": """
for epoch in range(10):
    model.train()
    for x, y in loader:
        delta = torch.zeros_like(x, requires_grad=True)
        for _ in range(7):
            loss = F.cross_entropy(model(x + delta), y)
            loss.backward()
            delta.data = (delta + 0.01 * delta.grad.sign()).clamp(-0.1, 0.1)
            delta.grad.zero_()
        optimizer.zero_grad()
        F.cross_entropy(model(x + delta.detach()), y).backward()
        optimizer.step()
""",
}

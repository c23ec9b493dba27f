"""Loops that switch to evaluation and back, and measure an accuracy. Read, never run."""

SOUND = {
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
    "run-epoch-opt-none": """
def epoch_pass(net, loader, opt=None):
    if opt is None:
        net.eval()
    else:
        net.train()
    for x, y in loader:
        loss = F.cross_entropy(net(x), y)
        if opt is not None:
            opt.zero_grad()
            loss.backward()
            opt.step()
for epoch in range(10):
    epoch_pass(net, train_loader, opt)
    epoch_pass(net, val_loader)
""",
    "getattr-mode": """
for epoch in range(10):
    for split in ("train", "val"):
        getattr(model, "train" if split == "train" else "eval")()
        for x, y in loaders[split]:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            if split == "train":
                loss.backward()
                optimizer.step()
""",
    "early-stop-best": """
best = float("inf")
for epoch in range(200):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        val = sum(criterion(model(x), y).item() for x, y in val_loader) / len(val_loader)
    scheduler.step(val)
    if val < best:
        best, wait = val, 0
        torch.save(model.state_dict(), "best.pt")
    else:
        wait += 1
        if wait > 10:
            break
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
}

"""Loops that add up gradients of several batches, or of several losses. Read, never run."""

SOUND = {
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
    "accum-weighted-backward": """
for epoch in range(10):
    for i, (x, y) in enumerate(loader):
        loss = criterion(model(x), y)
        loss.backward(gradient=torch.tensor(1.0 / accum))
        if (i + 1) % accum == 0:
            optimizer.step()
            optimizer.zero_grad()
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
    "hf-accum": """
for epoch in range(num_epochs):
    model.train()
    for step, batch in enumerate(train_dataloader):
        outputs = model(**batch)
        loss = outputs.loss
        loss = loss / gradient_accumulation_steps
        accelerator.backward(loss)
        if step % gradient_accumulation_steps == 0 or step == len(train_dataloader) - 1:
            optimizer.step()
            lr_scheduler.step()
            optimizer.zero_grad()
            progress_bar.update(1)
    model.eval()
    for batch in eval_dataloader:
        with torch.no_grad():
            outputs = model(**batch)
        predictions = outputs.logits.argmax(dim=-1)
        metric.add_batch(predictions=predictions, references=batch["labels"])
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
    "losses-loop": """
for epoch in range(3):
    for x, y in loader:
        optimizer.zero_grad()
        outs = model(x)
        for out, target in zip(outs, y):
            loss_fn(out, target).backward(retain_graph=True)
        optimizer.step()
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
    "detection": """
def train_one_epoch(model, optimizer, data_loader, device, epoch, print_freq, scaler=None):
    model.train()
    lr_scheduler = None
    if epoch == 0:
        lr_scheduler = LinearLR(optimizer, start_factor=0.001, total_iters=1000)
    for images, targets in metric_logger.log_every(data_loader, print_freq, header):
        with torch.amp.autocast("cuda", enabled=scaler is not None):
            loss_dict = model(images, targets)
            losses = sum(loss for loss in loss_dict.values())
        optimizer.zero_grad()
        if scaler is not None:
            scaler.scale(losses).backward()
            scaler.step(optimizer)
            scaler.update()
        else:
            losses.backward()
            optimizer.step()
        if lr_scheduler is not None:
            lr_scheduler.step()

def evaluate(model, data_loader):
    n = torch.get_num_threads()
    model.eval()
    for images, targets in data_loader:
        outputs = model(images)

for epoch in range(26):
    train_one_epoch(model, optimizer, data_loader, device, epoch, 10)
    main_lr_scheduler.step()
    evaluate(model, data_loader_test)
""",
}

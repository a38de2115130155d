"""Time for which saving a checkpoint holds up the training loop: 22M parameters with AdamW's memory.

python benchmarks/checkpoints.py
"""

import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import BertConfig, BertForMaskedLM

from lathe.core import learn, runtime
from lathe.core.checkpoint import Saver, save
from lathe.core.optim import AdamW

SAVES = 5
SHAPE = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)


def main() -> None:
    runtime.set_up()
    model = BertForMaskedLM(SHAPE)
    state = learn.State(AdamW()(model))
    for parameter in model.parameters():
        parameter.grad = parameter.detach() * 0.01
    state.optimizers[0].step()  # the optimizer's memory is there after a step
    tensors = learn.saved_tensors(model, state)
    print(f"{sum(t.nbytes for t in tensors.values()) / 1e6:.0f} MB in {len(tensors)} tensors")
    with TemporaryDirectory(dir=Path.cwd()) as folder, Saver(Path(folder), 2, print) as saver:
        waits, writes = [], []
        for step in range(SAVES + 1):
            started_s = time.perf_counter()
            saver.start(step, tensors, {})
            waits.append(time.perf_counter() - started_s)
            saver.finish()
            writes.append(time.perf_counter() - started_s - waits[-1])
        whole = []
        for step in range(SAVES):
            started_s = time.perf_counter()
            save(Path(folder), step, tensors, {})
            whole.append(time.perf_counter() - started_s)
    print(f"first copy {waits[0]:.3f} s, later ones {statistics.median(waits[1:]):.3f} s: the loop waits for these")
    print(f"written, read back and rotated by the thread in {statistics.median(writes):.2f} s; in the loop it would be")
    print(f"{statistics.median(whole):.2f} s")


if __name__ == "__main__":
    main()

"""`format=onnx`: graphs for onnxruntime and others, compared with the run before they are handed out."""

from importlib.util import find_spec
from pathlib import Path

import torch

from catclip.errors import UserError
from catclip.export.card import Section, code
from catclip.export.graphs import Graph, describe, graphs
from catclip.export.release import Release, write_labels

OLDEST_OPSET = 18  # of torch's exporter
TOLERANCE = 1e-4  # absolute, and relative to the value


def check_opset(opset: int) -> None:
    """Raise `UserError` for an opset that cannot be written here, or when the packages are missing."""
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if missing:
        raise UserError(f"format=onnx needs {', '.join(missing)}: pip install 'catclip[onnx]'.")
    import onnx

    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= opset <= newest:
        raise UserError(f"opset={opset} must be from {OLDEST_OPSET} to {newest}.")


def write_graphs(release: Release, folder: Path, out: Path, opset: int = OLDEST_OPSET) -> list[Section]:
    """Write `pictures.onnx`, and `texts.onnx` where the run has a text tower, for batches of any size.

    Args:
        release: what to write.
        folder: where to.
        out: what the folder will be called in the end.
        opset: of the graphs' operators.

    Returns:
        How they are used, for the card.

    Raises:
        UserError: packages are missing, there is no such opset, or onnxruntime gives other results than the run.
    """
    check_opset(opset)
    lines = ["import onnxruntime"]
    furthest = 0.0
    for graph in graphs(release):
        file = folder / f"{graph.name}.onnx"
        program = torch.onnx.export(
            graph.program(),
            input_names=[graph.takes],
            output_names=graph.gives,
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        program.save(file)
        furthest = max(furthest, _compare(graph, file))
        lines.append(f"{graph.name} = onnxruntime.InferenceSession({str(out / file.name)!r})")
        names = ", ".join(graph.gives) + "," * (len(graph.gives) == 1)
        lines.append(f"{names} = {graph.name}.run(None, {{{graph.takes!r}: {graph.takes}}})  # of numpy")
    write_labels(release, folder)
    checked = f"\n\nOpset {opset}. On random input onnxruntime's results were within {furthest:.1e} of the run's."
    return [Section("Use", code(lines) + checked), describe(release)]


def _compare(graph: Graph, file: Path) -> float:
    """The largest difference between onnxruntime's results and torch's, on a batch of another size."""
    import onnxruntime

    batch = torch.cat([graph.example, graph.example.flip(-1)[:1]])
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = graph.module(batch)
    furthest = 0.0
    for name, ours, found in zip(graph.gives, expected, session.run(None, {graph.takes: batch.numpy()}), strict=True):
        theirs = torch.from_numpy(found)
        if not torch.allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE):
            raise UserError(
                f"onnxruntime's {name} differ from the run's by up to {(ours - theirs).abs().max():.1e}: nothing was "
                "written. Another opset may do better."
            )
        furthest = max(furthest, (ours - theirs).abs().max().item())
    return furthest

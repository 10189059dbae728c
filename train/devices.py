"""Where a run computes: on one core, or on the GPU, which several runs share. No torch here before it is needed."""

from study.errors import StudyError
from study.records.training import Device

CHOICES = ("auto", "cpu", "cuda")


def chosen(name: str) -> Device:
    """The device of `--device`: `auto` is the GPU where torch can use one, and the CPU elsewhere.

    Raises:
        StudyError: `cuda` is asked for, and torch can use no GPU.
    """
    if name == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if name == "auto":
        return "cpu"
    built = "no GPU" if torch.version.cuda else "a build without CUDA"
    raise StudyError(
        f"--device cuda: expected a GPU that torch can use, found {built} (torch {torch.__version__}); "
        "train with --device cpu or auto"
    )


def settle(device: Device) -> None:
    """Prepare this process for a run: one thread, and on a GPU float32 in full and the same algorithms every time."""
    import torch

    torch.set_num_threads(1)
    if device == "cuda":
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic = True


def is_full(error: Exception) -> bool:
    """Whether the memory of a GPU did not suffice; torch raises several types, by where it happens."""
    import torch

    texts = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in texts)


def gpu(device: Device) -> str | None:
    """The name of the GPU; None on the CPU."""
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else None

"""The machine: versions, and its measured speed of matrix products and of memory."""

import platform
import subprocess

import torch
from common import arguments, name_of, seconds, set_precision, write

DTYPES = dict(bf16=torch.bfloat16, tf32=torch.float32, fp32=torch.float32)


def main() -> None:
    args = arguments(__doc__)
    size = 64 if args.rehearse else 8192
    result = dict(
        device=name_of(args.device),
        python=platform.python_version(),
        torch=torch.__version__,
        cuda=torch.version.cuda,
        cudnn=torch.backends.cudnn.version(),
        products={},
    )
    try:
        import triton

        result['triton'] = triton.__version__
    except ImportError:
        result['triton'] = None
    if not args.rehearse:
        result['nvidia_smi'] = subprocess.run(
            [
                'nvidia-smi',
                '--query-gpu=name,driver_version,clocks.max.sm,power.limit',
                '--format=csv',
            ],
            capture_output=True,
            text=True,
        ).stdout
    for name, dtype in DTYPES.items():
        set_precision(name)
        side = size if dtype == torch.bfloat16 else size // 2
        a, b = torch.randn(2, side, side, device=args.device, dtype=dtype)
        result['products'][name] = 2 * side**3 / seconds(lambda: a @ b, args.device)
    source = torch.empty(1 << (16 if args.rehearse else 30), dtype=torch.uint8, device=args.device)
    target = torch.empty_like(source)
    copy = seconds(lambda: target.copy_(source), args.device)
    result['bytes_per_second'] = 2 * source.numel() / copy  # read and written
    write(args.json, result)
    print(result)


if __name__ == '__main__':
    main()

"""Makes or updates a Space: `python -m app.deploy OWNER/NAME [--hardware …] [--sdk gradio|docker] [--dry-run]`.

The token comes from HF_TOKEN or from `hf auth login`; it is never taken as an argument and never printed.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence

os.environ["HF_HUB_DISABLE_XET"] = "1"  # read when huggingface_hub is imported: large files go by the LFS protocol

from huggingface_hub import HfApi, SpaceHardware, get_token

from app.deploy.space import SDKS, ZERO_GPU, Space, SpaceError, make_space, read_front_matter
from app.deploy.upload import STEPS, explain, send, what_is_left


def main(arguments: Sequence[str] | None = None, prog: str = "python -m app.deploy") -> int:
    """Returns 0; else 1, or 130 after Ctrl-C, after a sentence on what went wrong and what is left to do."""
    options = make_parser(prog).parse_args(arguments)
    left = list(STEPS)
    try:
        space = make_space(options.space, options.sdk, hardware_of(options), options.model)
        if options.dry_run:
            _print(describe(space))
            return 0
        if not get_token():
            raise SpaceError("There is no token: set HF_TOKEN, or log in with `hf auth login`, and run this again.")
        for line in untracked_note(space):
            _print(line)
        for done in send(space, HfApi()):
            _print(done)
            left.pop(0)
        return 0
    except KeyboardInterrupt:
        return _fail(f"Stopped. {what_is_left(left)}", 130)
    except SpaceError as error:
        return _fail(str(error))
    except Exception as error:
        return _fail(f"{explain(error)}\n{what_is_left(left)}")


def hardware_of(options: argparse.Namespace) -> str:
    """The hardware asked for; by default ZeroGPU, or a CPU for a container."""
    return str(options.hardware or (ZERO_GPU if options.sdk == "gradio" else "cpu-basic"))


def make_parser(prog: str = "python -m app.deploy") -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog=prog, description="Make or update a Space with this page.")
    parser.add_argument("space", metavar="OWNER/NAME", help="the Space; created if it does not exist")
    known = [str(flavor.value) for flavor in SpaceHardware]
    parser.add_argument(
        "--hardware",
        choices=known,
        metavar="HARDWARE",
        help=f"{', '.join(known)} [{ZERO_GPU}; cpu-basic with --sdk docker]",
    )
    parser.add_argument("--sdk", choices=SDKS, default="gradio", help="how the Space runs [%(default)s]")
    parser.add_argument(
        "--model",
        default="auto",
        help="the model it starts with; auto is LLaVA-1.5-7B on a GPU and pocket on a CPU [%(default)s]",
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be sent, and send nothing")
    return parser


def describe(space: Space) -> str:
    """What would be sent, as text."""
    front_matter = read_front_matter(space.files["README.md"].decode())
    total = sum(len(content) for content in space.files.values())
    requirements = [line for line in space.files["requirements.txt"].decode().splitlines() if not line.startswith("#")]
    return "\n".join(
        [
            f"Space       {space.repo_id}",
            f"SDK         {space.sdk}",
            f"hardware    {space.hardware}",
            *(f"variable    {name}={value}" for name, value in space.variables.items()),
            *(f"front       {name}: {value}" for name, value in front_matter.items()),
            *(f"requires    {line}" for line in requirements),
            *(f"{len(content):>11,} {path}" for path, content in space.files.items()),
            *untracked_note(space),
            f"{total:>11,} bytes in {len(space.files)} files; nothing was sent.",
        ]
    )


def untracked_note(space: Space) -> list[str]:
    """A line about untracked files, which are not sent, if there are any."""
    if not space.untracked:
        return []
    count, shown = len(space.untracked), ", ".join(space.untracked[:5])
    skipped = "1 untracked file is" if count == 1 else f"{count} untracked files are"
    return [f"{skipped} not sent (`git add` what belongs to the page): {shown}{', …' if count > 5 else ''}"]


def _print(text: str) -> None:
    print(without_secrets(text), flush=True)


def _fail(text: str, status: int = 1) -> int:
    print(without_secrets(text), file=sys.stderr)
    return status


def without_secrets(text: str) -> str:
    """A text without the token and without signed URLs, in case the Hub repeated one."""
    token = get_token()
    text = text.replace(token, "…") if token else text
    return re.sub(r"(https?://[^\s?'\"]+)\?[^\s'\"]+", r"\1?…", re.sub(r"hf_\w{8,}", "…", text))


if __name__ == "__main__":
    sys.exit(main())

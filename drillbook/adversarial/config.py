"""What an attacker's process is told: a generator's config, and which plan or pack to send how."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from drillbook.adversarial import packs, plan
from drillbook.load.config import GeneratorConfig

if TYPE_CHECKING:
    from drillbook.model.experiment import AttackSpec


class AttackerConfig(GeneratorConfig, frozen=True, kw_only=True):
    """One attacker. ``rate`` is of all its prompts together; ``prompts`` is not used.

    ``ignore_eos`` is off: an answer is as long as the model makes it.
    """

    ignore_eos: bool = False
    plan: str = ""
    """The file of a plan."""
    pack: str = ""
    """The file of a pack, in place of a plan."""
    cap: int | None = None
    once: bool = False
    """Send each prompt once and end; otherwise go round until told to stop."""
    concurrency: int = 0
    """Keep so many requests under way instead of a rate: for going through a plan as fast as the target can."""
    redact: bool = False
    """Write no words of prompts or answers."""
    calibrate: bool = True
    """Begin with the tripwires and their twins, to learn how this guardrail blocks."""
    garak_python: str = ""
    """An interpreter that has garak; this one's own where it is empty."""
    raw: str = ""
    """A file that garak's own record of each attempt is written to; empty: none."""

    @classmethod
    def attack(
        cls,
        spec: AttackSpec,
        *,
        folder: Path,
        base_url: str,
        model: str,
        writer: str = "attack",
        beside: Path | None = None,
        **options: Any,
    ) -> AttackerConfig:
        """From an experiment's entry of ``attacks``; ``beside`` is the folder that its files are relative to.

        Raises:
            UsageError: no plan or pack of that name.
            InvalidFileError: the plan is wrong.

        """
        wanted, _ = plan.resolved(spec, beside)
        return cls(
            writer=writer,
            folder=str(folder),
            base_url=base_url,
            model=model,
            rate=wanted.rate,
            output_tokens=wanted.max_tokens,
            stream=wanted.stream,
            seed=wanted.seed,
            cap=spec.cap,
            plan=str(plan.find(spec.plan, beside).absolute()) if spec.plan is not None else "",
            pack=str(packs.find(spec.pack, beside).absolute()) if spec.pack is not None else "",
            **options,
        )

    @property
    def path(self) -> Path:
        """The file that this attacker writes."""
        return Path(self.folder) / f"attacks-{self.writer}.jsonl"

"""What is expected of the attacks in ``apps.attacker``, and how what came of them differs."""

from __future__ import annotations

from collections.abc import Mapping

from apps.attacker.registry import ATTACKS, Attack
from apps.attacker.run import SUCCEEDED


def surprises(outcomes: Mapping[str, str], *, landlock_abi: int, seccomp: bool) -> dict[str, str]:
    """Return the outcomes that are not as the table says.

    What nothing refuses must succeed, else the attempt proves nothing where it is refused; unless
    the machine may refuse it by a setting of its own.
    """
    return {
        name: outcome
        for name, outcome in outcomes.items()
        if not _is_expected(
            ATTACKS[name],
            outcome,
            ATTACKS[name].succeeds(landlock_abi=landlock_abi, seccomp=seccomp),
        )
    }


def _is_expected(attack: Attack, outcome: str, succeeds: bool) -> bool:
    if outcome in attack.refusals:
        return not succeeds or attack.kernel_may_refuse
    return succeeds and outcome.startswith(SUCCEEDED)

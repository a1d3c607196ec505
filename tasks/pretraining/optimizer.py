"""Which parameters a phase trains, at which rates."""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from tasks.pretraining.config import PretrainingConfig
from tasks.pretraining.loss import head_of
from tasks.pretraining.plan import PhasePlan

GROUPS = ("input_rows", "head", "body")


def roles_of_parameters(model: PreTrainedModel) -> dict[str, str]:
    """Group of every parameter by name; a tied head is part of the input rows."""
    input_rows = model.get_input_embeddings().weight
    of_head = {id(parameter) for parameter in head_of(model).parameters()} - {id(input_rows)}

    def role(parameter: nn.Parameter) -> str:
        if parameter is input_rows:
            return "input_rows"
        return "head" if id(parameter) in of_head else "body"

    return {name: role(parameter) for name, parameter in model.named_parameters()}


def peak_rates(plan: PhasePlan) -> dict[str, float]:
    """Peak learning rate of each group; 0 leaves the group as it is."""
    phase = plan.phase
    return {"input_rows": phase.lr_input_rows, "head": phase.lr_head, "body": plan.lr_body}


def trained_names(roles: dict[str, str], plan: PhasePlan) -> list[str]:
    """Names of the parameters that the phase trains, in the model's order."""
    rates = peak_rates(plan)
    return [name for name, role in roles.items() if rates[role] > 0]


def make_optimizer(
    parameters: dict[str, nn.Parameter],
    roles: dict[str, str],
    plan: PhasePlan,
    config: PretrainingConfig,
) -> torch.optim.AdamW:
    """AdamW over the phase's parameters; weight decay on matrices of the body alone.

    Rows of tokens do not decay: most of them see no gradient in most steps.
    """
    rates = peak_rates(plan)
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name in trained_names(roles, plan):
        decays = roles[name] == "body" and parameters[name].ndim >= 2
        groups.setdefault((roles[name], decays), []).append(parameters[name])
    settings: list[dict[str, Any]] = [
        {
            "params": members,
            "role": role,
            "lr": rates[role],
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (role, decays), members in groups.items()
    ]
    return torch.optim.AdamW(settings, betas=(config.beta1, config.beta2), fused=True)


def set_rates(optimizer: torch.optim.Optimizer, plan: PhasePlan, step: int) -> dict[str, float]:
    """Put the step's learning rates into the optimizer and return them by group."""
    rates = peak_rates(plan)
    factor = plan.lr_factor(step)
    for group in optimizer.param_groups:
        group["lr"] = rates[group["role"]] * factor
    return {str(group["role"]): float(group["lr"]) for group in optimizer.param_groups}

"""One training worker: opens artifacts, builds the model, trains phase after phase, saves.

Between phases it goes the way of a resumed run: everything is built anew from the checkpoint.
"""

import resource
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from pydantic import BaseModel, ConfigDict
from transformers import AutoConfig, PreTrainedModel

from infra.artifacts import Artifact, open_artifact
from infra.checkpoint_reading import Checkpoint, CheckpointMismatchError, CheckpointReader
from infra.checkpoints import Checkpoints
from infra.devices import multiplies
from infra.object_store import store_at
from infra.parquet import read_table
from infra.ray_cluster import WorkerPlace
from infra.settings import get_settings
from tasks.pretraining.config import PretrainingConfig
from tasks.pretraining.distribution import distribute
from tasks.pretraining.errors import NoRowsToPullError
from tasks.pretraining.loop import Hooks, Replica, StepMetrics, train_phase
from tasks.pretraining.loss import CausalLoss, check_loss, check_sequence_length
from tasks.pretraining.optimizer import make_optimizer, roles_of_parameters, trained_names
from tasks.pretraining.packing import PackedCorpus
from tasks.pretraining.plan import PhasePlan, plan_phases, samples_of
from tasks.pretraining.row_prior import PulledRows, RowPrior, pulled_ids
from tasks.pretraining.token_shards import to_documents
from tasks.pretraining.training_state import (
    HISTORY,
    PARAMETER,
    History,
    moments,
    prepare_moments,
    random_state,
    restore_random_state,
)
from tasks.shared.causality import check_causal
from tasks.shared.determinism import compute_deterministically
from tasks.shared.document_prefix import document_prefix_id
from tasks.shared.model_loading import load_causal_lm
from tasks.shared.vocabulary import read_vocabulary


class TrainingJob(BaseModel):
    """What every worker of a run is told; plain values, so that it travels to any machine."""

    model_config = ConfigDict(frozen=True)

    config: PretrainingConfig
    model: Artifact
    tokens: Artifact
    embedding: Artifact | None = None
    """Where the rows come from, for a prior that is theirs."""
    store_root: str
    checkpoints_path: str


def run(payload: dict[str, Any], place: WorkerPlace) -> None:
    """What the cluster calls in every worker."""
    compute_deterministically(place.device)
    train(TrainingJob.model_validate(payload), place)


def check_job(job: TrainingJob, world_size: int) -> int:
    """Find what would fail on the workers before any is started; returns the number of steps."""
    per_step = job.config.global_batch_tokens // job.config.sequence_length
    samples_of(0, per_step, 0, world_size)
    check_causal(open_artifact(job.model))
    config = AutoConfig.from_pretrained(
        open_artifact(job.model), local_files_only=True, trust_remote_code=False
    )
    check_sequence_length(config, job.config.sequence_length)
    _pulled_ids(job)
    return plan_phases(job.config, _packed_corpus(job))[-1].end_step


def train(job: TrainingJob, place: WorkerPlace) -> None:
    """Train to the end of the last phase; every worker calls this."""
    corpus = _packed_corpus(job)
    plans = plan_phases(job.config, corpus)
    checkpoints = Checkpoints(store_at(job.store_root), job.checkpoints_path)
    while (newest := checkpoints.newest()) is None or newest.step < plans[-1].end_step:
        _train_phase(job, place, corpus, plans, checkpoints)


def _pulled_ids(job: TrainingJob) -> torch.Tensor | None:
    """Tokens whose rows the prior pulls; None without one."""
    prior = job.config.prior_regulariser
    if prior is None:
        return None
    if job.embedding is None:
        raise NoRowsToPullError(
            "prior_regulariser needs the rows that the embedding stage made, and this model has "
            "its own tokenizer; leave it out."
        )
    folder = open_artifact(job.embedding, "lineage.parquet")
    lineage = read_table(folder / "lineage.parquet", ["id", "part", "method"])
    rows = [row for row in lineage.to_pylist() if row["part"] == "input"]
    ids, methods = ([row[name] for row in rows] for name in ("id", "method"))
    return pulled_ids(ids, methods, prior.rows)


def _packed_corpus(job: TrainingJob) -> PackedCorpus:
    vocabulary = read_vocabulary(open_artifact(job.model))
    folder = open_artifact(job.tokens, "tokens-*.parquet")
    shards = [read_table(path, ["ids", "n_bytes"]) for path in sorted(folder.glob("tokens-*"))]
    return PackedCorpus(
        to_documents(shards, vocabulary),
        sequence_length=job.config.sequence_length,
        separator=document_prefix_id(vocabulary.roles),
        seed=job.config.seed,
        isolate_documents=job.config.isolate_documents,
    )


def _train_phase(
    job: TrainingJob,
    place: WorkerPlace,
    corpus: PackedCorpus,
    plans: tuple[PhasePlan, ...],
    checkpoints: Checkpoints,
) -> None:
    """Train to the end of the phase that the newest checkpoint is in."""
    with checkpoints.open_newest() as start:
        done = start[0].step if start else 0
        _check_agreement(done, place)
        plan = next((plan for plan in plans if plan.end_step > done), None)
        if plan is None:
            return
        run = _Run(job, place, plans, plan, checkpoints)
        first_step = run.restore(start)
    settings = get_settings()
    micro_samples = max(1, settings.micro_batch_tokens // job.config.sequence_length)
    train_phase(
        run.module, run.optimizer, corpus, plan, job.config,
        Replica(place.rank, place.world_size, run.device, micro_samples, run.compute_dtype),
        Hooks(on_step=run.on_step, save=partial(run.save, finished=False)),
        first_step=first_step, prior=run.prior,
    )  # fmt: skip
    run.save(plan.end_step, finished=True)


def _check_agreement(done: int, place: WorkerPlace) -> None:
    """See that all workers go on from one step: one may have read a damaged file, others not."""
    if place.world_size == 1:
        return
    least, most = (torch.tensor(done, device=place.device) for _ in range(2))
    dist.all_reduce(least, dist.ReduceOp.MIN)
    dist.all_reduce(most, dist.ReduceOp.MAX)
    if least != most:
        raise CheckpointMismatchError(
            f"worker {place.rank} goes on from step {done} and others from steps {least.item()} to "
            f"{most.item()}: a file was damaged on its way; start the same command again."
        )


def _compute_dtype(config: PretrainingConfig, place: WorkerPlace) -> torch.dtype:
    """Dtype of matrix products, the same on every worker: ``auto`` asks the least able one."""
    if config.compute_dtype != "auto":
        return torch.bfloat16 if config.compute_dtype == "bfloat16" else torch.float32
    able = torch.tensor(int(multiplies(torch.bfloat16, place.device)), device=place.device)
    if place.world_size > 1:
        dist.all_reduce(able, dist.ReduceOp.MIN)
    return torch.bfloat16 if able.item() else torch.float32


class _Run:
    """One phase of a run: model, optimizer, history, and how they go to and from checkpoints."""

    def __init__(
        self,
        job: TrainingJob,
        place: WorkerPlace,
        plans: tuple[PhasePlan, ...],
        plan: PhasePlan,
        checkpoints: Checkpoints,
    ) -> None:
        self._job, self._place, self._plans, self._plan = job, place, plans, plan
        self._checkpoints = checkpoints
        self._history = History()
        self.device = torch.device(place.device)
        self.compute_dtype = _compute_dtype(job.config, place)

    def restore(self, opened: tuple[Checkpoint, CheckpointReader] | None) -> int:
        """Build model and optimizer as the checkpoint left them; returns the steps done."""
        job, place, plan = self._job, self._place, self._plan
        model = load_causal_lm(open_artifact(job.model), torch.float32)
        roles = roles_of_parameters(model)
        names = trained_names(roles, plan)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in names)
        loss = CausalLoss(model)
        if opened is None:
            check_loss(loss)
        ids = _pulled_ids(job)
        starts = {} if ids is None else self._starts(model, ids)
        model.to(self.device).train()  # pyright: ignore[reportArgumentType]
        random: dict[str, torch.Tensor] = {}
        step = 0
        if opened is None:
            self.module = distribute(loss, get_settings().sharding, place.world_size, self.device)
            self.optimizer = self._optimizer(loss, roles)
        else:
            start, reader = opened
            step = start.step
            parameters = dict(model.named_parameters())
            for stored in start.names(PARAMETER):
                reader.read_into(stored, parameters[stored.removeprefix(PARAMETER)])
            self.module = distribute(loss, get_settings().sharding, place.world_size, self.device)
            self.optimizer = self._optimizer(loss, roles)
            if step > plan.first_step:
                prepare_moments(self.optimizer, step - plan.first_step)
                for name, tensor in moments(self.optimizer, self._parameters(loss)).items():
                    reader.read_into(name, tensor)
            random = {n: reader.read(n) for n in start.names(f"random/{place.rank}/")}
            history = {n: reader.read(n) for n in start.names(HISTORY)}
            self._history = History.from_tensors(history)
        self.prior = None if ids is None else self._prior(loss, ids, starts)
        restore_random_state(random, place.rank, self.device, job.config.seed)
        self._loss = loss
        return step

    def on_step(self, metrics: StepMetrics, seconds: float) -> None:
        """Remember a step and report it."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        self._history.add(metrics, seconds, peak)
        if self._place.rank == 0:
            n_steps = self._plans[-1].end_step
            self._place.report({**asdict(metrics), "n_steps": n_steps, "seconds": seconds})

    def save(self, step: int, *, finished: bool) -> None:
        """Write a checkpoint; a finished phase leaves no moments, the next one starts its own."""
        place = self._place
        parameters = self._parameters(self._loss)
        tensors = {f"{PARAMETER}{name}": parameters[name].detach() for name in self._ever_trained()}
        if not finished:
            tensors |= moments(self.optimizer, parameters)
        own = random_state(place.rank, self.device)
        if place.rank == 0:
            own |= self._history.tensors()
        self._checkpoints.write_part(step, tensors, own, place.rank, place.world_size)
        if place.world_size > 1:
            dist.barrier()
        if place.rank == 0:
            keep = 1 if step == self._plans[-1].end_step else get_settings().keep_checkpoints
            record = {"compute_dtype": str(self.compute_dtype).removeprefix("torch.")}
            self._checkpoints.complete(step, place.world_size, record, keep)
        if place.world_size > 1:
            dist.barrier()

    def _optimizer(self, loss: CausalLoss, roles: dict[str, str]) -> torch.optim.AdamW:
        return make_optimizer(self._parameters(loss), roles, self._plan, self._job.config)

    def _starts(self, model: PreTrainedModel, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        """The pulled rows of the model as it came, whatever a checkpoint makes of it."""
        roles = roles_of_parameters(model)
        return {
            name: parameter.detach()[ids].to(self.device, copy=True)
            for name, parameter in model.named_parameters()
            if roles[name] != "body" and parameter.ndim == 2
        }

    def _prior(
        self, loss: CausalLoss, ids: torch.Tensor, starts: dict[str, torch.Tensor]
    ) -> RowPrior | None:
        prior, parameters = self._job.config.prior_regulariser, self._parameters(loss)
        here = ids.to(self.device)
        pulled = [PulledRows(parameters[name], here, start) for name, start in starts.items()]
        return None if prior is None else RowPrior(prior.strength, pulled)

    def _parameters(self, loss: CausalLoss) -> dict[str, torch.nn.Parameter]:
        return dict(loss.model.named_parameters())

    def _ever_trained(self) -> list[str]:
        """Parameters that this phase or one before it changed."""
        roles = roles_of_parameters(self._loss.model)
        so_far = self._plans[: self._plan.number + 1]
        changed = {name for plan in so_far for name in trained_names(roles, plan)}
        return [name for name in roles if name in changed]

from types import FrameType, TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import Self, disjoint_base

from fastnn.data import SparseTable

ACTIVATIONS: tuple[str, ...]
LOSSES: tuple[str, ...]
ELEMENT_TYPES: dict[np.dtype[Any], int]
CONVENTIONS: dict[str, int]
OPTIMIZERS: dict[str, int]
REASONS: dict[int, str]

UNSOUND: int
UNORDERED: int
ORDERED: int

def is_plain_and_finite(array: NDArray[Any], dtype: np.dtype[Any]) -> bool: ...
def row_order(indices: NDArray[Any], starts: NDArray[Any], n_columns: int) -> int: ...

@disjoint_base
class Rows:
    def __init__(
        self,
        x: NDArray[Any] | SparseTable,
        y: NDArray[Any] | None = None,
        weights: NDArray[np.float64] | None = None,
        weight_unit: float = 1,
        labels: bool = False,
    ) -> None: ...
    @property
    def x(self) -> NDArray[Any] | SparseTable: ...
    @property
    def y(self) -> NDArray[Any] | None: ...
    @property
    def weights(self) -> NDArray[np.float64] | None: ...

@disjoint_base
class Optimizer:
    beta_1_power: float
    beta_2_power: float
    def __init__(
        self,
        kind: str,
        parameters: NDArray[Any],
        *,
        beta_1: float = 0,
        beta_2: float = 0,
        epsilon: float = 0,
        weight_decay: float = 0,
        clip_norm: float = 0,
        rate_in_velocity: bool = False,
        epsilon_hat: bool = False,
    ) -> None: ...
    @property
    def kind(self) -> str: ...
    @property
    def first(self) -> NDArray[Any] | None: ...
    @property
    def second(self) -> NDArray[Any] | None: ...

def restored_optimizer(
    kind: str,
    constants: dict[str, Any],
    first: NDArray[Any] | None,
    second: NDArray[Any] | None,
    beta_1_power: float,
    beta_2_power: float,
) -> Optimizer: ...

@disjoint_base
class HeldInterrupts:
    @property
    def pending(self) -> bool: ...
    def __enter__(self) -> HeldInterrupts: ...
    def note(self, number: int, frame: FrameType | None) -> None: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

@disjoint_base
class Watch:
    bad_epochs: int
    lowest_loss: float
    def __init__(
        self,
        rows: Rows | None = None,
        *,
        stops: bool = False,
        on_validation: bool = True,
        patience: int = 0,
        min_delta: float = 0,
        against_lowest: bool = False,
        kept: NDArray[Any] | None = None,
    ) -> None: ...
    @property
    def epoch(self) -> int: ...
    @property
    def best_epoch(self) -> int: ...
    @property
    def best_parameters(self) -> NDArray[Any] | None: ...

@disjoint_base
class Network:
    def __new__(
        cls,
        layer_sizes: tuple[int, ...],
        activations: tuple[str, ...],
        loss: str,
        loss_parameter: float,
        bias: bool,
        l2: float,
        dropout: float,
        dtype: np.dtype[Any],
        convention: str = "fastnn",
    ) -> Self: ...
    @property
    def parameters(self) -> NDArray[Any]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def n_bytes(self) -> dict[str, int]: ...
    def layer_views(self) -> list[tuple[NDArray[Any], NDArray[Any] | None]]: ...
    def copy(self) -> Network: ...
    def acquire(self) -> None: ...
    def release(self) -> None: ...
    def check_idle(self) -> None: ...
    def check_unused(self) -> None: ...
    def fit(
        self,
        rows: Rows,
        batch_size: int,
        optimizer: Optimizer,
        table: NDArray[np.float64],
        bit_generator: np.random.BitGenerator,
        shuffle: bool,
        watch: Watch,
        deadline: float,
        interrupts: HeldInterrupts,
        n_threads: int,
        order: NDArray[np.int64] | None = None,
    ) -> tuple[int, str]: ...
    def multiplies_elements(self, rows: Rows, goes_back: bool) -> bool: ...
    def forward_work(self, rows: Rows, goes_back: bool = False) -> int: ...
    def predict(self, rows: Rows, out: NDArray[Any], n_threads: int) -> None: ...
    def predict_plain(self, x: NDArray[Any], n_threads: int) -> NDArray[Any] | None: ...
    def loss(self, rows: Rows, n_threads: int) -> float: ...
    def loss_and_gradient(self, rows: Rows, n_threads: int) -> tuple[float, NDArray[Any]]: ...
    def input_gradient(self, rows: Rows, output: int, out: NDArray[Any]) -> None: ...

@disjoint_base
class Predictor:
    def __init__(self, network: Network) -> None: ...
    def __call__(self, x: ArrayLike, out: NDArray[Any] | None = None) -> NDArray[Any]: ...

def seconds() -> float: ...

"""The primary effect where incidents are open: a log-normal accelerated failure time model.

Without open incidents and factors it is the ratio of geometric means that `effects.py` tests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import linalg, optimize, stats

from dagster_project.statistics.not_possible import NotPossible
from dagster_project.statistics.strata import Codes, Strata, totals
from dagster_project.statistics.survival import Lifetimes

Floats = npt.NDArray[np.float64]

SMALLEST_SERVICE = 10
"""Ended incidents of both arms below which a service joins the others: its own coefficient would be a guess."""
SERVICES_AT_MOST = 60
"""Services with a coefficient of their own, the largest first: more would cost minutes and change nothing."""
POOLED = "(others)"
"""The services that have no coefficient of their own."""


@dataclass(frozen=True)
class AcceleratedFit:
    """Ratio of durations, candidate over baseline, within severity and service, open incidents counted.

    Attributes
    ----------
    sigma
        Spread of the logs within a cell.
    incidents, open_count
        That the model used.
    left_out
        Incidents of kinds of which none has ended anywhere: nothing can be learnt from them.
    pooled_services
        Services that were taken together.
    parameters
        Coefficients, the arm's among them.
    overlap
        Share of the ended incidents whose cell (severity and service) both arms have.
    """

    ratio: float
    low: float
    high: float
    log_ratio: float
    standard_error: float
    p_value: float
    sigma: float
    incidents: int
    open_count: int
    left_out: int
    pooled_services: int
    parameters: int
    overlap: float


@dataclass(frozen=True)
class _Cells:
    """Incidents of one arm, severity and service counted together; open ones stay single.

    For the ended ones of a normal model counts, sums and sums of squares of the logs say everything.
    """

    design: Floats
    counts: Floats
    sums: Floats
    squares: Floats
    ended_logs: Floats
    ended_cells: Codes
    open_logs: Floats
    open_cells: Codes


def accelerated_failure_time(
    baseline: Lifetimes,
    candidate: Lifetimes,
    severities: Strata | None = None,
    services: Strata | None = None,
    *,
    smallest_service: int = SMALLEST_SERVICE,
    confidence: float = 0.95,
) -> AcceleratedFit | NotPossible:
    """Maximum likelihood of log duration = arm + severity + service + normal error, open incidents right-censored.

    In Olsen's parameters (1978: coefficients and 1, both over sigma) the likelihood is concave, so it has one maximum,
    found by Newton's method with exact derivatives. The variance is that of the information matrix, or Huber's robust
    one where that is larger (White 1982): it allows for arms of unequal spread, which one sigma does not. The interval
    is Student's t with the degrees of freedom of a regression.

    Parameters
    ----------
    severities, services
        One code an incident of each arm; a factor that is left out is not adjusted for.
    smallest_service
        Services with fewer ended incidents are pooled.

    Returns
    -------
    AcceleratedFit or NotPossible
        The latter when an arm has no ended incident, when the arms share no cell to compare within, when there are
        no more ended incidents than coefficients, when nothing varies, or when the likelihood did not converge.
    """
    if min(baseline.ended_count, candidate.ended_count) == 0:
        return NotPossible("all_open", "an arm has no ended incident")
    logs = np.log(np.concatenate([baseline.times, candidate.times]))
    ended = np.concatenate([baseline.is_ended, candidate.is_ended])
    is_candidate = np.arange(logs.size) >= baseline.count
    factors, pooled = [], 0
    if severities is not None:
        factors.append(severities.pooled)
    if services is not None:
        codes, pooled = _pooled(services.pooled, ended, smallest_service)
        factors.append(codes)
    usable = _learnable(factors, ended)
    factors = [np.unique(codes[usable], return_inverse=True)[1] for codes in factors]
    logs, ended, is_candidate = logs[usable], ended[usable], is_candidate[usable]
    if ended[is_candidate].sum() == 0 or ended[~is_candidate].sum() == 0:
        return NotPossible("all_open", "an arm has no ended incident of a kind that ended anywhere")
    return _fit(logs, ended, is_candidate, factors, (int((~usable).sum()), pooled), confidence)


def _fit(
    logs: Floats,
    ended: npt.NDArray[np.bool_],
    is_candidate: npt.NDArray[np.bool_],
    factors: list[Codes],
    left_out_and_pooled: tuple[int, int],
    confidence: float,
) -> AcceleratedFit | NotPossible:
    centre = float(logs[ended].mean())
    cells = _cells(logs - centre, ended, is_candidate, factors)
    overlap = _overlap(factors, is_candidate, ended)
    design = _identified(cells.design, cells.counts)
    if design is None:
        return NotPossible(
            "no_overlap", "no severity and service occur in both arms, so there is nothing within which to compare"
        )
    degrees = int(ended.sum()) - design.shape[1]
    if degrees < 1:
        return NotPossible("too_few", f"{int(ended.sum())} ended incidents do not carry {design.shape[1]} coefficients")
    estimate = _maximum(replace(cells, design=design))
    if isinstance(estimate, NotPossible):
        return estimate
    log_ratio, variance, sigma = estimate
    # As in a regression the coefficients have used up degrees of freedom, which the likelihood does not know.
    error = math.sqrt(variance * ended.sum() / degrees)
    half = float(stats.t.ppf((1 + confidence) / 2, degrees)) * error
    return AcceleratedFit(
        ratio=math.exp(log_ratio),
        low=math.exp(log_ratio - half),
        high=math.exp(log_ratio + half),
        log_ratio=log_ratio,
        standard_error=error,
        p_value=float(2 * stats.t.sf(abs(log_ratio) / error, degrees)),
        sigma=sigma,
        incidents=int(logs.size),
        open_count=int((~ended).sum()),
        left_out=left_out_and_pooled[0],
        pooled_services=left_out_and_pooled[1],
        parameters=int(design.shape[1]),
        overlap=overlap,
    )


def _pooled(codes: Codes, ended: npt.NDArray[np.bool_], smallest: int) -> tuple[Codes, int]:
    """Codes with the small services under one, and how many those are."""
    counts = np.bincount(codes, weights=ended)
    order = np.argsort(-counts, kind="stable")
    kept = np.zeros(counts.size, dtype=np.bool_)
    kept[order[:SERVICES_AT_MOST]] = True
    kept &= counts >= smallest
    numbers = np.where(kept, np.arange(counts.size), counts.size)
    return numbers[codes], int((~kept).sum())


def _learnable(factors: list[Codes], ended: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """False for open incidents of a kind of which none has ended: the best guess for those is forever."""
    usable = np.ones(ended.size, dtype=np.bool_)
    for codes in factors:
        usable &= (np.bincount(codes, weights=ended) > 0)[codes]
    return usable


def _cell_codes(factors: list[Codes], size: int) -> Codes:
    codes = np.zeros(size, dtype=np.intp)
    for each in factors:
        codes = codes * (int(each.max(initial=0)) + 1) + each
    return codes


def _cells(
    logs: Floats, ended: npt.NDArray[np.bool_], is_candidate: npt.NDArray[np.bool_], factors: list[Codes]
) -> _Cells:
    codes = _cell_codes(factors, logs.size) * 2 + is_candidate
    _, firsts, cells = np.unique(codes, return_index=True, return_inverse=True)
    columns = [np.ones(firsts.size), is_candidate[firsts].astype(np.float64)]
    for each in factors:
        levels = each[firsts]
        columns += [(levels == level).astype(np.float64) for level in range(1, int(each.max()) + 1)]
    size = firsts.size
    return _Cells(
        design=np.column_stack(columns),
        counts=np.bincount(cells[ended], minlength=size).astype(np.float64),
        sums=totals(logs[ended], cells[ended], size),
        squares=totals(logs[ended] ** 2, cells[ended], size),
        ended_logs=logs[ended],
        ended_cells=cells[ended],
        open_logs=logs[~ended],
        open_cells=cells[~ended],
    )


def _overlap(factors: list[Codes], is_candidate: npt.NDArray[np.bool_], ended: npt.NDArray[np.bool_]) -> float:
    codes = _cell_codes(factors, ended.size)[ended]
    arms = is_candidate[ended]
    first, second = (
        np.bincount(codes[~arms], minlength=codes.max() + 1),
        np.bincount(codes[arms], minlength=codes.max() + 1),
    )
    return float((first + second)[(first > 0) & (second > 0)].sum() / ended.sum())


def _identified(design: Floats, counts: Floats) -> Floats | None:
    """Columns that the ended incidents tell apart, the arm second; None when the arm is not among them."""
    observed = design[counts > 0]
    others = np.delete(observed, 1, axis=1)
    _, triangle, pivots = linalg.qr(others, mode="economic", pivoting=True)
    diagonal = np.abs(np.diag(triangle))
    kept = np.sort(pivots[: diagonal.size][diagonal > 1e-9 * diagonal[0]])
    independent = others[:, kept]
    rest = observed[:, 1] - independent @ np.linalg.lstsq(independent, observed[:, 1])[0]
    if float(np.abs(rest).max()) < 1e-9:
        return None
    return np.column_stack(
        [np.delete(design, 1, axis=1)[:, kept[:1]], design[:, 1], np.delete(design, 1, axis=1)[:, kept[1:]]]
    )


def _maximum(cells: _Cells) -> tuple[float, float, float] | NotPossible:
    """Log ratio, its variance and sigma at the maximum."""
    x, n = cells.design, cells.counts
    gram = x.T @ (n[:, None] * x)
    start = np.linalg.solve(gram, x.T @ cells.sums)
    fitted = x @ start
    spread = float((cells.squares - 2 * fitted * cells.sums + n * fitted**2).sum() / n.sum())
    if spread <= 1e-12 * max(float(cells.squares.sum() / n.sum()), 1e-12):
        return NotPossible(
            "all_equal", "within its cell every incident lasts the same, so there is no spread to judge by"
        )
    sigma = math.sqrt(spread)
    scale = float(n.sum() + cells.open_logs.size)

    def loss(theta: Floats) -> float:
        return -_log_likelihood(cells, theta) / scale

    def slope(theta: Floats) -> Floats:
        return -_gradient(cells, theta) / scale

    def curvature(theta: Floats) -> Floats:
        return -_hessian(cells, theta) / scale

    theta = np.append(start, 1.0) / sigma
    fit = optimize.minimize(
        loss, theta, jac=slope, hess=curvature, method="trust-exact", options={"gtol": 1e-9, "maxiter": 200}
    )
    theta = np.asarray(fit.x, dtype=np.float64)
    if theta[-1] <= 0 or not np.all(np.isfinite(theta)) or float(np.abs(slope(theta)).max()) > 1e-6:
        return NotPossible("not_converged", "the likelihood of the model has no maximum that could be found")
    covariance = np.linalg.inv(curvature(theta) * scale)
    robust = covariance @ _score_products(cells, theta) @ covariance
    log_ratio = float(theta[1] / theta[-1])
    change = np.zeros(theta.size)
    change[1], change[-1] = 1 / theta[-1], -theta[1] / theta[-1] ** 2
    variance = max(float(change @ covariance @ change), float(change @ robust @ change))
    return log_ratio, variance, float(1 / theta[-1])


def _log_likelihood(cells: _Cells, theta: Floats) -> float:
    fitted, inverse = cells.design @ theta[:-1], float(theta[-1])
    if inverse <= 0:
        return -math.inf
    squares = inverse**2 * cells.squares - 2 * inverse * fitted * cells.sums + cells.counts * fitted**2
    ended = float(cells.counts.sum()) * math.log(inverse) - 0.5 * float(squares.sum())
    return ended + float(stats.norm.logsf(inverse * cells.open_logs - fitted[cells.open_cells]).sum())


def _gradient(cells: _Cells, theta: Floats) -> Floats:
    fitted, inverse = cells.design @ theta[:-1], float(theta[-1])
    mills = _mills(inverse * cells.open_logs - fitted[cells.open_cells])
    by_cell = inverse * cells.sums - cells.counts * fitted
    by_cell = by_cell + totals(mills, cells.open_cells, fitted.size)
    by_inverse = cells.counts.sum() / inverse - (inverse * cells.squares - fitted * cells.sums).sum()
    return np.append(cells.design.T @ by_cell, by_inverse - (mills * cells.open_logs).sum())


def _hessian(cells: _Cells, theta: Floats) -> Floats:
    fitted, inverse = cells.design @ theta[:-1], float(theta[-1])
    z = inverse * cells.open_logs - fitted[cells.open_cells]
    mills = _mills(z)
    bend = mills * (mills - z)

    def opened(weights: Floats) -> Floats:
        return totals(weights, cells.open_cells, fitted.size)

    inner = -(cells.design.T * (cells.counts + opened(bend))) @ cells.design
    cross = cells.design.T @ (cells.sums + opened(bend * cells.open_logs))
    corner = -cells.counts.sum() / inverse**2 - cells.squares.sum() - (bend * cells.open_logs**2).sum()
    return np.block([[inner, cross[:, None]], [cross[None, :], np.array([[corner]])]])


def _score_products(cells: _Cells, theta: Floats) -> Floats:
    """Sum over incidents of the outer products of their scores."""
    fitted, inverse = cells.design @ theta[:-1], float(theta[-1])
    ended = inverse * cells.ended_logs - fitted[cells.ended_cells]
    mills = _mills(inverse * cells.open_logs - fitted[cells.open_cells])
    by_fitted = np.concatenate([ended, mills])
    by_inverse = np.concatenate([1 / inverse - ended * cells.ended_logs, -mills * cells.open_logs])
    places = np.concatenate([cells.ended_cells, cells.open_cells])
    inner = (cells.design.T * totals(by_fitted**2, places, fitted.size)) @ cells.design
    cross = cells.design.T @ totals(by_fitted * by_inverse, places, fitted.size)
    return np.block([[inner, cross[:, None]], [cross[None, :], np.array([[(by_inverse**2).sum()]])]])


def _mills(z: Floats) -> Floats:
    """Normal density over upper tail."""
    return np.exp(stats.norm.logpdf(z) - stats.norm.logsf(z))

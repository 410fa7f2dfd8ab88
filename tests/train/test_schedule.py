import pytest

from danlu.config import ConfigError
from danlu.train.pace import Pace
from danlu.train.schedule import ScheduleConfig, build_schedule


def rates(config, n_steps):
    lr_at = build_schedule(config, 1.0, Pace(n_steps))
    return [round(lr_at(step), 4) for step in range(n_steps)]


def test_warmup_stable_decay():
    assert rates(ScheduleConfig(warmup_steps=1, decay_fraction=0.5), 8) == [
        0.5, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25,
    ]  # fmt: skip


def test_cosine_ends_at_the_final_ratio():
    config = ScheduleConfig(kind="cosine", warmup_steps=0, final_lr_ratio=0.1)
    values = rates(config, 100)
    assert values[0] == 1.0
    assert values[50] == pytest.approx(0.55)
    assert values[-1] == pytest.approx(0.1, abs=1e-3)


def test_moving_the_end_while_the_rate_is_constant_changes_nothing_before():
    pace = Pace(100, decay_fraction=0.5)
    lr_at = build_schedule(ScheduleConfig(warmup_steps=0, decay_fraction=0.5), 1.0, pace)
    before = [lr_at(step) for step in range(40)]
    pace.n_steps = 200
    assert [lr_at(step) for step in range(40)] == before
    assert lr_at(150) == pytest.approx(0.5)


def test_pace_plans_again_until_the_rate_falls():
    pace = Pace(10**6, seconds=100.0, decay_fraction=0.5)
    pace.spent = 9.0
    pace._last -= 1.0
    pace.update(20)  # 10 s for 20 updates: 200 fit
    assert pace.n_steps == pytest.approx(200, abs=2)
    pace.spent = 80.0
    pace.update(101)  # the rate already falls: no change
    assert pace.n_steps == pytest.approx(200, abs=2)


def test_a_decay_beyond_the_whole_run_is_refused():
    with pytest.raises(ConfigError, match="must be in"):
        ScheduleConfig(decay_fraction=1.5)


@pytest.mark.parametrize("number", [1, 17, 399, 400, 401, 100_000])
def test_inverse_sqrt_is_the_schedule_of_the_2017_paper(number):
    config = ScheduleConfig(kind="inverse_sqrt", warmup_steps=400)
    lr_at = build_schedule(config, (512 * 400) ** -0.5, Pace(10))
    assert lr_at(number - 1) == pytest.approx(512**-0.5 * min(number**-0.5, number * 400**-1.5), rel=1e-12)


def test_inverse_sqrt_needs_a_warmup():
    with pytest.raises(ConfigError, match="warmup_steps is 0; with inverse_sqrt it must be at least 1"):
        ScheduleConfig(kind="inverse_sqrt", warmup_steps=0)

from __future__ import annotations

import pytest

from danlu.serve.studio.pace import SHARE, Pace


def test_what_takes_long_is_done_seldom_and_what_takes_no_time_always():
    now = 100.0
    pace = Pace(lambda: now)
    assert pace.due
    with pace.measured():
        pass
    assert pace.due
    with pace.measured():
        now += 0.03
    assert not pace.due
    now += 0.56
    assert not pace.due
    now += 0.02  # 0.57 s of pause to 0.03 s of work is one part in twenty
    assert pace.due


def test_a_long_text_takes_no_more_than_its_share():
    now, spent = 100.0, 0.0
    pace = Pace(lambda: now)
    while now < 200:
        if pace.due:
            with pace.measured():
                now, spent = now + 0.12, spent + 0.12
        now += 0.08  # the page looks so often
    assert spent / 100 == pytest.approx(SHARE, rel=0.1)
    assert spent / 100 <= SHARE

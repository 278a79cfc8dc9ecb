import math

import numpy as np
import pytest

from analysis import agreement


def test_agreement_by_hand():
    a = np.array([0.9, 0.5, 0.3, 0.1])
    b = np.array([0.8, 0.2, 0.4, 0.0])
    jaccard, difference = agreement.compare(a, b, a >= 0.3, b >= 0.3)
    assert jaccard == pytest.approx(2 / 3)  # {0, 2} of {0, 1, 2}
    assert difference == pytest.approx((0.1 + 0.3 + 0.1) / 3)
    assert all(map(math.isnan, agreement.compare(a, b, a > 1, b > 1)))

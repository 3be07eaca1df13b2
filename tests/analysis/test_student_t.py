"""Quantiles of Student's t as scipy has them."""

import numpy as np
import pytest
from scipy import stats

from recollect.analysis.student_t import student_t


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95, 0.975, 0.995])
def test_quantiles(share):
    freedom = np.concatenate([[1, 1.3, 2, 3.7, 10, 1e4, 1e6], np.linspace(1, 200, 500)])
    found = student_t(share, freedom)
    np.testing.assert_allclose(found, stats.t.ppf(share, freedom), rtol=1e-5, atol=1e-9)


def test_nothing_of_nothing():
    assert np.isnan(student_t(0.9, np.array([np.nan, 3.0]))).tolist() == [True, False]

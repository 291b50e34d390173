import torch

from cdm_core.devices.arithmetic import gpu_arithmetic, set_fp32

backends = torch.backends


def flags() -> tuple[bool, bool, bool]:
    return backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32, backends.cudnn.benchmark


def test_fp32_means_the_same_for_products_of_matrices_and_convolutions() -> None:
    before = flags()
    assert before[0] != before[1]  # torch's own mixture
    with gpu_arithmetic("tf32", fixed_shapes=True):
        assert flags() == (True, True, True)
        with gpu_arithmetic("ieee"):
            assert flags() == (False, False, True)
        assert flags() == (True, True, True)
    assert flags() == before


def test_an_app_may_set_it_for_good() -> None:
    with gpu_arithmetic("tf32"):
        set_fp32("ieee")
        assert flags()[:2] == (False, False)

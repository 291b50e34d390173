import numpy as np

from urcdm.results.crops import crop_centres


def test_crops_lie_in_tissue_and_are_the_same_every_time() -> None:
    picture = np.full((100, 200, 3), 240, np.uint8)
    picture[20:80, 50:120] = (160, 80, 150)
    centres = crop_centres(picture, 0.05)
    assert len(set(centres)) == 3
    for x, y in centres:
        assert 50 <= 200 * x <= 120
        assert 20 <= 100 * y <= 80
    assert [y for _, y in centres] == sorted(y for _, y in centres)
    assert crop_centres(picture, 0.05) == centres
    assert crop_centres(np.full((10, 10, 3), 255, np.uint8), 1.0) == [(0.5, 0.5)]

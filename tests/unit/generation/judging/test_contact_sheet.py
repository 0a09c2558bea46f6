"""A sheet shows every picture, in order, with as many words as fit."""

import numpy as np
from PIL import Image

from generation.judging import contact_sheet

CELL_PX = contact_sheet.LEAST_CELL_PX


def test_every_picture_stands_in_its_place_enlarged_without_blur() -> None:
    pictures = [Image.new("RGB", (32, 32), (50 * number, 0, 255)) for number in range(5)]
    sheet = contact_sheet.grid(pictures, [str(number) for number in range(5)], 3)
    width, height = sheet.width // 3, sheet.height // 2
    for number in range(5):
        left, top = number % 3 * width, number // 3 * height
        cell = np.asarray(sheet.crop((left, top, left + CELL_PX, top + CELL_PX)))
        assert (cell == (50 * number, 0, 255)).all()


def test_a_label_stays_below_its_own_picture() -> None:
    pictures = [Image.new("RGB", (CELL_PX, CELL_PX), "white")] * 2
    long = contact_sheet.grid(pictures, ["a very " * 20, ""], 2)
    right = np.asarray(long.crop((CELL_PX, 0, long.width, long.height)))
    assert (right == 255).all()


def test_words_that_do_not_fit_go_on_in_a_second_line() -> None:
    pictures = [Image.new("RGB", (CELL_PX, CELL_PX), "white")] * 2
    short = contact_sheet.grid(pictures, ["a fox", ""], 2)
    long = contact_sheet.grid(pictures, ["a happy dog, outlined-cartoon", ""], 2)
    assert long.height == short.height + contact_sheet.LINE_PX
    second = np.asarray(long.crop((0, short.height, CELL_PX, long.height)))
    assert (second < 255).any()

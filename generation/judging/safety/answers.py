"""What opening an upload can end with: the vocabulary of the guarded child and its parent.

The child sends names, never sentences: whoever takes it over can choose among these and say nothing
of their own to a member.
"""

from enum import StrEnum


class Refusal(StrEnum):
    """Why an upload is not used, as a sentence for whoever sent it."""

    NOT_A_PICTURE = "That file is not a picture I can open. Please use PNG, JPEG, WebP or GIF."
    DAMAGED = "That picture is damaged; please save it again and try once more."
    TOO_MANY_PIXELS = "That picture has more than {megapixels} megapixels."
    TOO_MUCH_MEMORY = "That picture takes too much memory to open; please save it smaller."
    TOO_SLOW = "That picture took too long to open; please save it again and try once more."
    UNABLE = "I cannot open pictures right now; the log says why."


class Change(StrEnum):
    """What a kept picture no longer shows as it did, as a sentence for whoever sent it."""

    FIRST_FRAME = "Your picture moves; its first frame is used."
    ON_WHITE = "What is transparent in your picture is white here."
    COLOURS = "The colour profile of your picture cannot be followed, so its colours may differ."
    SQUEEZED = "Your picture is so long and thin that its shape had to change."

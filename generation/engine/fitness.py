"""What of an order its checkpoint cannot draw: standard library only."""

from generation.work.checkpoints import Checkpoint
from generation.work.errors import InvalidRequest
from generation.work.orders import Order


def refuse_unfit(order: Order, checkpoint: Checkpoint) -> None:
    """Refuse an order that this checkpoint cannot draw.

    Raises:
        InvalidRequest: A field is out of its range, its size or style is not the checkpoint's, its picture is missing, or
            nothing could pick the best of its pictures.
    """
    request = order.request
    request.check()
    if request.verb not in checkpoint.verbs:
        known = ", ".join(sorted(checkpoint.verbs)) or "none"
        raise InvalidRequest("verb", request.verb, f"one of what {checkpoint.name} does: {known}")
    multiple = checkpoint.size_multiple
    for field, side_px in (("width", request.width), ("height", request.height)):
        if side_px % multiple:
            raise InvalidRequest(field, side_px, f"a multiple of {multiple}")
    if request.width * request.height > checkpoint.pixel_limit:
        size = f"{request.width}x{request.height}"
        raise InvalidRequest("size", size, f"at most {checkpoint.pixel_limit} pixels in all")
    checkpoint.caption(request, "")
    if request.num_spare and not checkpoint.scorer:
        raise InvalidRequest("num_spare", request.num_spare, "0 on a model without a scorer")
    if len(order.blobs) != len(request.inputs):
        raise InvalidRequest("inputs", len(order.blobs), "sent along with the order")

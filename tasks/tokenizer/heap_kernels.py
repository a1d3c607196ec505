"""A binary heap of (count, key): the greatest count on top, the smaller key where counts tie."""

from typing import no_type_check

from numba import njit


@njit(cache=True, nogil=True)
@no_type_check
def heap_push(heap, size, count, key):
    """Add an entry; returns the new size. The array must have room."""
    at = size
    while at > 0:
        parent = (at - 1) >> 1
        if heap[parent, 0] > count or (heap[parent, 0] == count and heap[parent, 1] <= key):
            break
        heap[at, 0], heap[at, 1] = heap[parent, 0], heap[parent, 1]
        at = parent
    heap[at, 0], heap[at, 1] = count, key
    return size + 1


@njit(cache=True, nogil=True)
@no_type_check
def heap_pop(heap, size):
    """Take the top away; returns the new size."""
    size -= 1
    if size > 0:
        heap_replace_top(heap, size, heap[size, 0], heap[size, 1])
    return size


@njit(cache=True, nogil=True)
@no_type_check
def heap_replace_top(heap, size, count, key):
    """Put another entry in place of the top."""
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        other = child + 1
        if other < size and (
            heap[other, 0] > heap[child, 0]
            or (heap[other, 0] == heap[child, 0] and heap[other, 1] < heap[child, 1])
        ):
            child = other
        if count > heap[child, 0] or (count == heap[child, 0] and key <= heap[child, 1]):
            break
        heap[at, 0], heap[at, 1] = heap[child, 0], heap[child, 1]
        at = child
    heap[at, 0], heap[at, 1] = count, key

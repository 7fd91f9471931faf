"""The queue between threads: bounded, closable, and of a camera the newest."""

import threading

from fastsegformer_mm.deploy.prediction.channel import Channel


def in_thread(function, *args):
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*args)))
    thread.start()
    return thread, results


def test_first_in_first_out_up_to_the_end():
    channel = Channel(3)
    assert [channel.put(k) for k in range(3)] == [True] * 3
    channel.close()
    assert channel.put(3) is False
    assert list(channel) == [0, 1, 2]
    assert (channel.longest, channel.dropped) == (3, 0)


def test_put_waits_for_room():
    channel = Channel(2)
    channel.put('a')
    channel.put('b')
    thread, results = in_thread(channel.put, 'c')
    thread.join(0.3)
    assert thread.is_alive()
    assert next(iter(channel)) == 'a'
    thread.join(10)
    assert results == [True]
    channel.close()
    assert list(channel) == ['b', 'c']
    assert channel.longest == 2


def test_abort_frees_both_sides_and_forgets():
    full, empty = Channel(1), Channel(1)
    full.put('a')
    putting, put = in_thread(full.put, 'b')
    taking, taken = in_thread(list, empty)
    putting.join(0.2)
    taking.join(0.2)
    assert putting.is_alive()
    assert taking.is_alive()
    full.abort()
    empty.abort()
    putting.join(10)
    taking.join(10)
    assert (put, taken) == ([False], [[]])
    assert list(full) == []


def test_an_event_stops_both_sides():
    stop = threading.Event()
    full, empty = Channel(1, stop), Channel(1, stop)
    full.put('a')
    putting, put = in_thread(full.put, 'b')
    taking, taken = in_thread(list, empty)
    # as a signal's handler does: nobody is woken
    stop.set()
    putting.join(10)
    taking.join(10)
    assert (put, taken) == ([False], [[]])
    # what waits is of no interest any more
    assert list(full) == []


def test_only_the_newest_of_a_camera_waits_and_files_are_never_dropped():
    channel = Channel(3)
    channel.put('file')
    for k in range(5):
        assert channel.put(k, newest=True)
    assert channel.dropped == 4
    channel.put('end')
    channel.close()
    assert list(channel) == ['file', 4, 'end']

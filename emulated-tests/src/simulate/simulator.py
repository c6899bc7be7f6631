"""Runs an ESP32's firmware in labwired, its console on standard input and output.

simulator.py ELF [--card IMAGE] [--no-psram] [--one-core]

The firmware, built with the feature `simulator`, has words of memory in place of its serial input and its card's blocks:
`firmware/esp/src/platform/simulator.rs` has them in this order. Ctrl-D, or the end of the input, ends the simulation; the last line
tells how many cycles it took.
"""

import argparse
import json
import os
import select
import sys

from labwired import Sim

REQUEST, ARGUMENT, TYPED, READ, WAITS, INPUT = 0, 1, 3, 4, 5, 6
INPUT_LEN = 64
TRANSFER = INPUT + INPUT_LEN
OPTIONS, COUNT, READ_BLOCKS = 1, 2, 3
BLOCK_LEN = 512
CTRL_D = 4
# Nanoseconds between two looks at the words: while nothing is asked for, and while blocks are.
LONG, SHORT = 100_000, 5_000
# Looks after a request in which another one is expected soon.
SOON = 50


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("elf")
    parser.add_argument("--card")
    parser.add_argument("--no-psram", action="store_true")
    parser.add_argument("--one-core", action="store_true")
    args = parser.parse_args()
    card = b""
    if args.card:
        with open(args.card, "rb") as file:
            card = file.read()

    # The simulator writes what the firmware sends there, too, and later.
    console = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sim = Sim(args.elf, chip="esp32")
    base = sim.symbol("RILLM_SIMULATOR")
    run, read, write = sim._session.run_for, sim._session.read_u32, sim._session.write_u32
    typed, soon, ended, to_prompt = 0, 0, False, None

    def answer(request):
        """Answers one of the firmware's requests."""
        first, count = read(base + 4 * ARGUMENT), read(base + 4 * (ARGUMENT + 1))
        number = 0
        if request == OPTIONS:
            number = args.no_psram | args.one_core << 1
        elif request == COUNT:
            number = len(card) // BLOCK_LEN
        elif request == READ_BLOCKS:
            blocks = card[first * BLOCK_LEN : (first + count) * BLOCK_LEN]
            if len(blocks) != count * BLOCK_LEN:
                sys.exit(f"the firmware asks for blocks {first} to {first + count}, past the card's end")
            for at in range(0, len(blocks), 4):
                write(base + 4 * TRANSFER + at, int.from_bytes(blocks[at : at + 4], "little"))
        else:
            sys.exit(f"the firmware asks for {request}, which nobody knows")
        write(base + 4 * ARGUMENT, number)
        write(base + 4 * REQUEST, 0)

    while True:
        run(SHORT if soon else LONG)
        soon = max(soon - 1, 0)
        request = read(base + 4 * REQUEST)
        if request:
            answer(request)
            soon = SOON
        out = sim.read_uart_bytes()
        if out:
            console.write(out)
        room = INPUT_LEN - (typed - read(base + 4 * READ)) % 2**32
        waits = read(base + 4 * WAITS) and room == INPUT_LEN
        if waits and to_prompt is None:
            to_prompt = sim.cycles
        if waits and not out and ended:
            break
        # While the firmware waits for a byte, so does its time.
        if not ended and room and select.select([sys.stdin], [], [], None if waits and not out else 0)[0]:
            data = os.read(sys.stdin.fileno(), room)
            end = data.find(CTRL_D)
            ended = not data or end >= 0
            for byte in data[:end] if end >= 0 else data:
                write(base + 4 * (INPUT + typed % INPUT_LEN), byte)
                typed = (typed + 1) % 2**32
            write(base + 4 * TYPED, typed)
    console.write(f"\r\nsimulated: {json.dumps({'cycles': sim.cycles, 'to_prompt': to_prompt})}\r\n".encode())


main()

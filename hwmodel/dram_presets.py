"""DRAM parts: what a datasheet says of them, and the parts that ship with minisim.

Times are in cycles of the DRAM's own clock, as datasheets tabulate them once the speed bin is chosen.
Where a datasheet gives nanoseconds, the comment beside the number has them; they are rounded up.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from fractions import Fraction

from minisim.errors import did_you_mean


@dataclass(frozen=True)
class DramPart:
    """One memory system: the devices' timing, how many of them, and its controller.

    Attributes:
        MHz: of the DRAM's command clock.
        channels, ranks, groups, banks: independent channels, ranks of each, bank groups of a rank, banks of a group.
        rows, page_bursts: rows of a bank, and bursts in a row (page bytes of the whole rank / burst_bytes).
        burst_bytes, burst_cycles: one column command's data, and the cycles that it holds the data bus.
        mapping: the fields of an address from its most significant bit: ro(w), ch(annel), ra(nk), ba(nk),
            bg (bank group), co(lumn), each of two letters, as DRAMsim3 writes them.
        CL, CWL: column command to first data, read and write.
        tRCD, tRP, tRAS: activate to column, precharge to activate, activate to precharge.
        tCCD_S, tCCD_L: column to column, in another bank group and in the same one.
        tRRD_S, tRRD_L, tFAW: activate to activate likewise, and the window of any four activates of a rank.
        tWTR_S, tWTR_L: end of write data to a read command.
        tWR, tRTP: end of write data, and read command, to precharge.
        tRPRE: gap on the data bus between a read and the write behind it.
        tRTRS: gap on the data bus between two ranks.
        tREFI, tRFC: between two refreshes of a rank, and how long one takes.
        queue: read requests, and write requests, that the controller of a channel holds.
        write_batch: writes that are drained when no read waits; all of `queue` when reads do.
        bank_queue: requests that wait at each bank, served first-ready.
        commands: that a channel issues per cycle; 2 where row and column commands have buses of their own.
    """

    MHz: int
    channels: int
    ranks: int
    groups: int
    banks: int
    rows: int
    page_bursts: int
    burst_bytes: int
    burst_cycles: int
    mapping: str
    CL: int
    CWL: int
    tRCD: int
    tRP: int
    tRAS: int
    tCCD_S: int
    tCCD_L: int
    tRRD_S: int
    tRRD_L: int
    tFAW: int
    tWTR_S: int
    tWTR_L: int
    tWR: int
    tRTP: int
    tRPRE: int
    tRTRS: int
    tREFI: int
    tRFC: int
    queue: int = 32
    write_batch: int = 16
    bank_queue: int = 8
    commands: int = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "mapping":
                if sorted(value[i : i + 2] for i in range(0, len(value), 2)) != ["ba", "bg", "ch", "co", "ra", "ro"]:
                    raise ValueError("mapping must name ro, ch, ra, ba, bg and co once each, such as rochrababgco")
            elif field.name in _POWERS and (value < 1 or value & (value - 1)):
                raise ValueError(f"{field.name} must be a power of two")
            elif not _LEAST.get(field.name, 0) <= value <= 2**20:
                raise ValueError(f"{field.name} must be {_LEAST.get(field.name, 0)} to {2**20}")
        # Or a row might be closed again and again before its first column command: a run without an end.
        if self.tREFI < 2 * self.ranks * max(self.tRFC + self.tRAS + self.tRP + self.tRCD + self.tFAW, 1):
            rule = "2 x ranks x (tRFC + tRAS + tRP + tRCD + tFAW), or more"
            raise ValueError(f"tREFI must leave at least half of the time: {rule}")

    @property
    def bytes_per_second(self) -> Fraction:
        """Peak bandwidth of all channels."""
        return Fraction(self.channels * self.burst_bytes * self.MHz * 10**6, self.burst_cycles)

    @property
    def column_latency(self) -> Fraction:
        """Seconds from a read command to its first data."""
        return Fraction(self.CL, self.MHz * 10**6)

    def override(self, text: str) -> DramPart:
        """This part with some numbers changed: ``CL=20 tRFC=400``, or ``none``.

        Raises:
            ValueError: with the rule that `text` breaks, and the nearest name if there is one.
        """
        if text == "none":
            return self
        changes: dict[str, int | str] = {}
        names = [field.name for field in fields(self)]
        for item in text.split():
            name, equals, value = item.partition("=")
            if name not in names:
                raise ValueError("must name keys of a DRAM part, such as 'CL=20 tRFC=400'", did_you_mean(name, names))
            if not equals or (name != "mapping" and not (value.isascii() and value.isdigit() and len(value) < 8)):
                raise ValueError(f"must give {name} a whole number of at most 7 digits, such as {name}=20")
            changes[name] = value if name == "mapping" else int(value)
        return replace(self, **changes)  # type: ignore[arg-type]


_POWERS = ("channels", "ranks", "groups", "banks", "rows", "page_bursts", "burst_bytes")
_LEAST = {"MHz": 1, "burst_cycles": 1, "queue": 1, "write_batch": 1, "bank_queue": 1, "tREFI": 1, "commands": 1}

PRESETS = {
    # JESD79-4B, speed bin DDR4-3200AA, 8 Gb x8 (Micron MT40A1G8-062E): 64-bit channel of two ranks. The clock
    # is 0.625 ns. Mapping and queues as in DRAMsim3's DDR4_8Gb_x8_3200.ini.
    "ddr4-3200": DramPart(
        MHz=1600, channels=1, ranks=2, groups=4, banks=4, rows=65536,
        page_bursts=128,  # 1 KiB page x 8 devices
        burst_bytes=64,  # BL8 x 64 bit
        burst_cycles=4,
        mapping="rochrababgco",
        CL=22, CWL=16,
        tRCD=22,  # 13.75 ns
        tRP=22,  # 13.75 ns
        tRAS=52,  # 32 ns, and one for the bin
        tCCD_S=4, tCCD_L=8,  # 5 ns
        tRRD_S=4, tRRD_L=8,  # 1 KiB page: 2.5 ns; 4.9 ns
        tFAW=34,  # 21 ns
        tWTR_S=4, tWTR_L=12,  # 2.5 ns; 7.5 ns
        tWR=24,  # 15 ns
        tRTP=12,  # 7.5 ns
        tRPRE=1, tRTRS=1,
        tREFI=12480,  # 7.8 us
        tRFC=560,  # 350 ns
    ),
    # LPDDR4-2400, 8 Gb x16: four x16 devices side by side, two ranks. The clock is 0.833 ns. The numbers are those
    # of DRAMsim3's LPDDR4_8Gb_x16_2400.ini, which pairs a faster core than JESD209-4 asks for with longer
    # refreshes twice as far apart; where the standard's own number differs, it stands beside.
    "lpddr4-2400": DramPart(
        MHz=1200, channels=1, ranks=2,
        groups=2, banks=4,  # JESD209-4: 8 banks, no groups
        rows=65536,
        page_bursts=64,  # 2 KiB page x 4 devices
        burst_bytes=128,  # BL16 x 64 bit
        burst_cycles=8,
        mapping="rochrababgco",
        CL=17,  # JESD209-4: 24
        CWL=14,  # JESD209-4: 12 (set A)
        tRCD=15,  # JESD209-4: 22 (18 ns)
        tRP=15,  # JESD209-4: 22 (18 ns)
        tRAS=32,  # JESD209-4: 51 (42 ns)
        tCCD_S=4, tCCD_L=6,  # JESD209-4: 8, as here: a burst is 8 cycles
        tRRD_S=8, tRRD_L=8,  # JESD209-4: 12 (10 ns)
        tFAW=32,  # JESD209-4: 48 (40 ns)
        tWTR_S=8, tWTR_L=16,  # JESD209-4: 12 (10 ns)
        tWR=30,  # JESD209-4: 22 (18 ns)
        tRTP=12,  # JESD209-4: 9 (7.5 ns)
        tRPRE=1, tRTRS=1,
        tREFI=8660,  # JESD209-4: 4684 (3.904 us)
        tRFC=392,  # JESD209-4: 336 (280 ns, all banks)
    ),
    # JESD209-5, LPDDR5-6400 in bank-group mode: command clock 800 MHz, WCK four times that, four x16 channels.
    # Written down from the standard's tables as remembered: no ground truth stands behind this part.
    "lpddr5-6400": DramPart(
        MHz=800, channels=4, ranks=1, groups=4, banks=4, rows=32768,
        page_bursts=64,  # 2 KiB page of one x16 device
        burst_bytes=32,  # BL16 x 16 bit
        burst_cycles=2,  # 16 beats, 8 per command clock
        mapping="rorababgcoch",
        CL=17, CWL=9,  # set 0; set A
        tRCD=15,  # 18 ns
        tRP=15,  # 18 ns, one bank
        tRAS=34,  # 42 ns
        tCCD_S=2, tCCD_L=4,
        tRRD_S=4, tRRD_L=4,  # 5 ns
        tFAW=16,  # 20 ns
        tWTR_S=5, tWTR_L=10,  # 6.25 ns; 12 ns
        tWR=28,  # 34 ns
        tRTP=6,  # 7.5 ns
        tRPRE=1, tRTRS=1,
        tREFI=3125,  # 3.906 us
        tRFC=168,  # 210 ns, 8 Gb, all banks
    ),
    # JESD235B, HBM2 at 2 Gb/s per pin, 8 Gb dies: eight channels of 128 bits. The clock is 1 ns. Values, mapping
    # and queues as in DRAMsim3's HBM2_8Gb_x128.ini; tRTP is its reader's default, as the file gives none.
    "hbm2": DramPart(
        MHz=1000, channels=8, ranks=1, groups=4, banks=4, rows=32768,
        page_bursts=32,  # 2 KiB page
        burst_bytes=64,  # BL4 x 128 bit
        burst_cycles=2,
        mapping="rorabgbachco",
        CL=14, CWL=4,
        tRCD=14,  # 14 ns
        tRP=14,  # 14 ns
        tRAS=34,  # 34 ns
        tCCD_S=1, tCCD_L=2,
        tRRD_S=4, tRRD_L=6,
        tFAW=30,
        tWTR_S=6, tWTR_L=8,
        tWR=16,  # 16 ns
        tRTP=5,
        tRPRE=1, tRTRS=2,
        tREFI=3900,  # 3.9 us
        tRFC=260,  # 260 ns
        commands=2,
    ),
}  # fmt: skip
"""By name, as `dram.preset` takes it."""

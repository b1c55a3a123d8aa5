// What help() says of the native event model. Part of bindings.cpp.
#pragma once

namespace minisim::doc {

constexpr char kClassify[] =
    R"(Sort the operations of a schedule into classes that cost the same, in cycles and in energy.

Args:
    planes: uint32 of shape (operations,): how many operations the descriptor of each moves, 0 for
        one that follows; None if all move one.
    period: bytes; DRAM addresses that differ by a multiple of it are cut into the same bursts.

Returns:
    uint32 of shape (operations,): each one's class; and uint32 of shape (classes,): the first
    operation of each.

Raises:
    ScheduleError: a reference of the schedule leads nowhere.)";

constexpr char kWayBack[] =
    R"(From a point of an operation to the one that held it, and so on.

Args:
    gate: uint8 of shape (operations, 7): the code of the gate that opened each point.
    holder: uint32 of the same shape: the operation whose point the gate's equation begins with.
    origins: of each gate that point; 7 where the path begins, 8 to stop there.
    point, op: where to begin.

Returns:
    uint8 and uint32 of shape (nodes,): the points, and their operations. The last one is where the
    path begins or stops; or one whose gate or holder there is not, or by which it would go on in a
    circle.

Raises:
    UsageError: the shapes are others.)";

constexpr char kTimeSchedule[] =
    R"(Time a schedule, and let an engine that has loaded it do each step in the same loop.

Args:
    machine: the numbers of a minisim.hwmodel.native.TimingMachine.
    costs: int64 of shape (classes x 6,): setup, busy, hold, latency, lag and DRAM cycles of each class.
    classes: uint32 of shape (operations,): rows of `costs`.
    planes: as for `classify`.
    engine: an Engine, or None.

Returns:
    the columns of a Timeline by name, and "unretired": how many operations wait in a circle.

Raises:
    ScheduleError: a reference of the schedule leads nowhere.
    ScheduleHazard: of the engine's.)";

constexpr char kExpectedStarts[] =
    R"(When each operation could start if dispatching cost nothing: `minisim.hwmodel.recurrence` in C++.

Args:
    costs, classes: as for `time_schedule`.
    sharing: int64 of shape (layers,): how many cores share the DRAM in each.
    shared: whether both directions of a DMA share their port.

Returns:
    int64 of shape (operations,): cycles.

Raises:
    ScheduleError: a reference leads nowhere, or an operation waits for one behind it.)";

constexpr char kGates[] = "The names of the gates by their code in a Timeline.";

}  // namespace minisim::doc

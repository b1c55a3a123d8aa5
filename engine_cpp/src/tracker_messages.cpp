// The tracker's verdicts in words.

#include <algorithm>
#include <cstdio>

#include "minisim/errors.hpp"
#include "minisim/tracker.hpp"

namespace minisim {
namespace {

std::string hex(std::uint64_t value) {
    char text[20];
    std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
    return text;
}

}  // namespace

// "KIND hazard at cycle 7: LOAD (op 3) writes SRAM [0x0, 0x1000)"
std::string Tracker::opening(const Access& access, const std::string& kind) const {
    std::string text = kind + " hazard at cycle " + std::to_string(access.cycle) + ": " +
                       schedule_.op_name(access.op) + (access.writes ? " writes " : " reads ");
    if (!access.in_sram) return text + "DRAM " + schedule_.tile_name(access.content.tile);
    const std::uint64_t end = access.sram + schedule_.tile_bytes(access.content.tile);
    const char* memory = access.sram < sram_bytes_ ? "SRAM [" : "accumulator memory [";
    return text + memory + hex(access.sram) + ", " + hex(end) + ")";
}

// Two accesses in the wrong order, or at the same time. The kind says what the program means
// with them: which comes first there, and what each of them does.
void Tracker::conflict(const Access& access, std::int32_t other, bool other_writes) const {
    const bool too_late = other > static_cast<std::int32_t>(access.op);
    const bool first_writes = too_late ? access.writes : other_writes;
    const bool second_writes = too_late ? other_writes : access.writes;
    const std::string kind = std::string(second_writes ? "write" : "read") + "-after-" +
                             (first_writes ? "write" : "read");
    const std::string name = schedule_.op_name(static_cast<std::size_t>(other));
    const char* verb = other_writes ? "writes" : "reads";
    std::string text = opening(access, too_late ? "out of program order, " + kind : kind);
    text += ", which " + name;
    text += too_late ? std::string(", later in the program, already ") + verb
                     : std::string(", still in flight, ") + verb;
    throw Hazard(text, access.op, other, access.cycle);
}

void Tracker::never_written(const Access& access) const {
    throw Hazard(opening(access, "never written") + " that nothing wrote, for " +
                     schedule_.content_name(access.content),
                 access.op, -1, access.cycle);
}

void Tracker::wrong_content(const Access& access, std::int32_t writer) const {
    std::string text = opening(access, "wrong content") + " for " +
                       schedule_.content_name(access.content);
    if (writer == kUser) {
        text += ", but what the user supplied lies there";
    } else {
        const auto op = static_cast<std::size_t>(writer);
        text += ", but " + schedule_.op_name(op) + " put " +
                schedule_.content_name(schedule_.result(op)) + " there";
    }
    throw Hazard(text, access.op, std::max(writer, kNobody), access.cycle);
}

void Tracker::unfinished(std::uint32_t tensor, std::uint64_t row, std::int32_t writer,
                         std::int64_t cycle) const {
    std::string text = "unfinished output hazard at cycle " + std::to_string(cycle) +
                       ": the program is done, but row " + std::to_string(row) + " of tensor " +
                       std::to_string(tensor);
    text += writer == kNobody ? " was not stored completely"
                              : " holds a partial sum, from " +
                                    schedule_.op_name(static_cast<std::size_t>(writer));
    throw Hazard(text, kNobody, writer, cycle);
}

}  // namespace minisim

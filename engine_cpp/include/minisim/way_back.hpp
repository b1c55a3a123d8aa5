// The way back along a timeline: from a point of an operation to the one that held it, and so on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "minisim/timing.hpp"

namespace minisim {

// Where a gate's equation begins, by its code: a point of the holder, or one of these.
constexpr std::uint8_t kPathBegins = kPoints, kPathStops = kPoints + 1;

struct WayBack {
    std::vector<std::uint8_t> points;
    std::vector<std::uint32_t> ops;
};

// From `point` of `op` to a point whose gate leads nowhere: the path begins or stops there, the gate or the holder is
// none that there is, or the way went in a circle. That point is the last one.
WayBack way_back(const std::uint8_t* gate, const std::uint32_t* holder, std::size_t size,
                 const std::vector<std::uint8_t>& origins, std::uint8_t point, std::uint32_t op);

}  // namespace minisim

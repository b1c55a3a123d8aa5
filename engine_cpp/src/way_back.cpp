#include "minisim/way_back.hpp"

namespace minisim {

WayBack way_back(const std::uint8_t* gate, const std::uint32_t* holder, std::size_t size,
                 const std::vector<std::uint8_t>& origins, std::uint8_t point, std::uint32_t op) {
    WayBack found;
    while (op < size && point < kPoints && found.ops.size() < kPoints * size) {
        found.points.push_back(point);
        found.ops.push_back(op);
        const std::size_t at = op * kPoints + point;
        if (gate[at] >= origins.size()) break;
        point = origins[gate[at]];
        op = holder[at];
    }
    return found;
}

}  // namespace minisim

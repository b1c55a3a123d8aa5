// Who wrote and who read each piece of a memory last.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace minisim {

// In place of a stream position. Both are below every operation: neither is ever "too late".
constexpr std::int32_t kNobody = -1;
constexpr std::int32_t kUser = -2;  // set_tensor wrote it

// A memory cut into cells of equal size. Every access must cover whole cells, so that two
// accesses overlap in bytes exactly if they share a cell.
//
// A cell is the last writer, and the last reader of each queue that may read this memory. One name
// is enough for each. Operations touch a cell in program order (the tracker sees to that), so the
// last one has the highest position; and queues retire in order, so if the last of a queue has
// retired, all earlier ones of it have, too.
class Cells {
public:
    // `readers`: queues that may read the memory. Throws std::bad_alloc if there is no memory to
    // remember so much.
    Cells(std::uint64_t bytes, std::uint64_t cell_bytes, std::size_t readers)
        : cell_bytes_(cell_bytes),
          words_(1 + readers),
          names_(names(bytes, cell_bytes, 1 + readers), kNobody) {}

    std::uint64_t cell_bytes() const { return cell_bytes_; }
    std::size_t readers() const { return words_ - 1; }

    // One cell: names[0] is the writer, names[1 + i] the reader of queue i.
    struct Cell {
        std::int32_t* names;
        std::int32_t& writer() const { return names[0]; }
        std::int32_t& reader(std::size_t queue) const { return names[1 + queue]; }
    };

    // The cells of a run of bytes [begin, end).
    struct Run {
        std::int32_t* first;
        std::int32_t* last;
        std::size_t words;

        struct Iterator {
            std::int32_t* at;
            std::size_t words;
            Cell operator*() const { return {at}; }
            Iterator& operator++() {
                at += words;
                return *this;
            }
            bool operator!=(const Iterator& other) const { return at != other.at; }
        };
        Iterator begin() const { return {first, words}; }
        Iterator end() const { return {last, words}; }
    };
    Run run(std::uint64_t begin, std::uint64_t end) {
        return {names_.data() + begin / cell_bytes_ * words_,
                names_.data() + (end + cell_bytes_ - 1) / cell_bytes_ * words_, words_};
    }

    void forget() noexcept { std::fill(names_.begin(), names_.end(), kNobody); }
    void forget_readers() noexcept {
        for (std::size_t i = 0; i < names_.size(); ++i) {
            if (i % words_ != 0) names_[i] = kNobody;
        }
    }

private:
    static std::size_t names(std::uint64_t bytes, std::uint64_t cell_bytes, std::size_t words) {
        const std::uint64_t cells = bytes / cell_bytes + (bytes % cell_bytes != 0);
        if (cells > PTRDIFF_MAX / sizeof(std::int32_t) / words) throw std::bad_alloc();
        return static_cast<std::size_t>(cells) * words;
    }

    std::uint64_t cell_bytes_;
    std::size_t words_;  // per cell
    std::vector<std::int32_t> names_;
};

}  // namespace minisim

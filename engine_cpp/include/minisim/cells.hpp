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
//
// What is written together has one history until an access divides it: so a tile is mostly one
// block of cells, whose first one speaks for all of them.
class Cells {
public:
    // `cell_bytes`: a power of two. `readers`: queues that may read the memory. Throws std::bad_alloc if there is no memory to
    // remember so much.
    Cells(std::uint64_t bytes, std::uint64_t cell_bytes, std::size_t readers)
        : cell_bytes_(cell_bytes), words_(2 + readers), words_of_all_(words(bytes, cell_bytes, words_)) {
        while (cell_bytes >> shift_ > 1) ++shift_;
        forget();
    }

    std::uint64_t cell_bytes() const { return cell_bytes_; }
    std::size_t readers() const { return words_ - 2; }

    // A block of cells: how many, their writer, and their reader of each queue. Behind the first
    // cell of a block there are others of no blocks of their own (0).
    struct Block {
        std::int32_t* words;
        std::int32_t& cells() const { return words[0]; }
        std::int32_t& writer() const { return words[1]; }
        std::int32_t& reader(std::size_t queue) const { return words[2 + queue]; }
    };

    // The blocks of a run of bytes [begin, end).
    struct Run {
        std::int32_t* first;
        std::int32_t* last;
        std::size_t words;

        struct Iterator {
            std::int32_t* at;
            std::size_t words;
            Block operator*() const { return {at}; }
            Iterator& operator++() {
                at += words * static_cast<std::size_t>(at[0]);
                return *this;
            }
            bool operator!=(const Iterator& other) const { return at != other.at; }
        };
        Iterator begin() const { return {first, words}; }
        Iterator end() const { return {last, words}; }
        std::size_t readers() const { return words - 2; }

        // `op` wrote all of it. Nobody will ask for its readers until then: they come before `op`,
        // and have retired.
        void written_by(std::int32_t op) const {
            std::size_t left = static_cast<std::size_t>(last - first) / words;
            for (std::int32_t* at = first; left > 0;) {
                const std::size_t cells = std::min(left, kLongest);
                if (static_cast<std::size_t>(at[0]) != cells) {
                    for (std::size_t i = 1; i < cells; ++i) at[i * words] = 0;
                    at[0] = static_cast<std::int32_t>(cells);
                }
                at[1] = op;
                std::fill_n(at + 2, readers(), kNobody);
                at += cells * words;
                left -= cells;
            }
        }
    };
    Run run(std::uint64_t begin, std::uint64_t end) noexcept {
        std::int32_t* const first = words_of_all_.data() + (begin >> shift_) * words_;
        std::int32_t* const last = words_of_all_.data() + ((end + cell_bytes_ - 1) >> shift_) * words_;
        divide_before(first);
        divide_before(last);
        return {first, last, words_};
    }

    // Every cell is a block of its own, which nobody knows.
    void forget() noexcept {
        for (std::size_t i = 0; i < words_of_all_.size(); ++i) {
            words_of_all_[i] = i % words_ == 0 ? 1 : kNobody;
        }
    }
    void forget_readers() noexcept {
        for (std::size_t i = 0; i < words_of_all_.size(); ++i) {
            if (i % words_ > 1) words_of_all_[i] = kNobody;
        }
    }

private:
    static constexpr std::size_t kLongest = 256;  // of blocks: to find the one of a cell takes as long

    static std::size_t words(std::uint64_t bytes, std::uint64_t cell_bytes, std::size_t words) {
        const std::uint64_t cells = bytes / cell_bytes + (bytes % cell_bytes != 0);
        if (cells > PTRDIFF_MAX / sizeof(std::int32_t) / words) throw std::bad_alloc();
        return static_cast<std::size_t>(cells) * words;
    }

    // A block begins here.
    void divide_before(std::int32_t* cell) noexcept {
        if (cell == words_of_all_.data() + words_of_all_.size() || cell[0] > 0) return;
        std::int32_t* block = cell;
        std::int32_t before = 0;
        for (; block[0] == 0; ++before) block -= words_;
        std::copy_n(block, words_, cell);
        cell[0] = block[0] - before;
        block[0] = before;
    }

    std::uint64_t cell_bytes_;
    int shift_ = 0;      // cell_bytes_ is 2 to it: to divide takes as long as the rest of an access
    std::size_t words_;  // per cell
    std::vector<std::int32_t> words_of_all_;
};

}  // namespace minisim

// Which copies of a memory may be evicted, the one first whose next use is farthest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "minisim/isa.hpp"

namespace minisim {

// A heap in which a copy is found, so that it can be taken out when an operation to come needs it. Invariant: a copy
// is in it at most once, and `at` says where. All heaps share `at`, by copy: each copy is at home in one memory.
class Candidates {
public:
    using At = std::vector<std::uint32_t>;  // kNone: it is in no heap

    explicit Candidates(At& at) : at_(&at) {}

    bool empty() const { return heap_.empty(); }
    // How far away the next use of the first one is, and which copy it is: of equally far ones the least.
    std::uint32_t distance() const { return heap_.front().far; }
    std::uint32_t first() const { return heap_.front().copy; }

    void add(std::uint32_t copy, std::uint32_t far) {
        heap_.push_back({far, copy});
        rise(heap_.size() - 1);
    }

    // Takes `copy` out, if it is in.
    void remove(std::uint32_t copy) {
        const std::uint32_t i = (*at_)[copy];
        if (i == kNone) return;
        (*at_)[copy] = kNone;
        const Candidate last = heap_.back();
        heap_.pop_back();
        if (i == heap_.size()) return;
        heap_[i] = last;
        sink(rise(i));
    }

private:
    struct Candidate {
        std::uint32_t far, copy;
        bool before(const Candidate& other) const {
            return far != other.far ? far > other.far : copy < other.copy;
        }
    };

    void put(std::size_t i, const Candidate& candidate) {
        heap_[i] = candidate;
        (*at_)[candidate.copy] = static_cast<std::uint32_t>(i);
    }

    std::size_t rise(std::size_t i) {
        const Candidate moved = heap_[i];
        while (i > 0 && moved.before(heap_[(i - 1) / 2])) {
            put(i, heap_[(i - 1) / 2]);
            i = (i - 1) / 2;
        }
        put(i, moved);
        return i;
    }

    void sink(std::size_t i) {
        const Candidate moved = heap_[i];
        for (std::size_t child = 2 * i + 1; child < heap_.size(); child = 2 * i + 1) {
            if (child + 1 < heap_.size() && heap_[child + 1].before(heap_[child])) ++child;
            if (!heap_[child].before(moved)) break;
            put(i, heap_[child]);
            i = child;
        }
        put(i, moved);
    }

    std::vector<Candidate> heap_;
    At* at_;
};

}  // namespace minisim

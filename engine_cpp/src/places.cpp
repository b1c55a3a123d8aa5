#include "minisim/places.hpp"

#include <algorithm>
#include <iterator>

#include "minisim/errors.hpp"

namespace minisim {

template <Places::Link Places::Place::*link>
void Places::List<link>::push_front(Place& place) {
    place.*link = {nullptr, first};
    (first ? (first->*link).before : last) = &place;
    first = &place;
}

template <Places::Link Places::Place::*link>
void Places::List<link>::push_back(Place& place) {
    place.*link = {last, nullptr};
    (last ? (last->*link).behind : first) = &place;
    last = &place;
}

template <Places::Link Places::Place::*link>
void Places::List<link>::erase(Place& place) {
    const Link at = place.*link;
    (at.before ? (at.before->*link).behind : first) = at.behind;
    (at.behind ? (at.behind->*link).before : last) = at.before;
}

Places::Places(std::uint64_t bytes, std::uint64_t base) : bytes_(bytes), base_(base) {
    if (bytes > 0) give(base, bytes, Clock{}, 0, Age::kNewest);
}

std::optional<Places::Taken> Places::allocate(std::uint64_t bytes, bool small) {
    if (bytes > free_bytes_) return std::nullopt;
    Place* first = choose(bytes);
    if (first == nullptr) return std::nullopt;
    return take(*first, bytes, small);
}

void Places::free(std::uint64_t address, std::uint64_t bytes, const Clock& clock) {
    const auto behind = places_.lower_bound(address);
    const bool within = address >= base_ && bytes > 0 && bytes <= bytes_ && address - base_ <= bytes_ - bytes;
    const bool used = (behind == places_.end() || behind->first >= address + bytes) &&
                      (behind == places_.begin() ||
                       std::prev(behind)->first + std::prev(behind)->second.bytes <= address);
    if (!within || !used) throw ScheduleError("the walk gives back what it has not taken");
    give(address, bytes, clock, ++now_, Age::kNewest);
}

void Places::merge() {
    if (free_bytes_ != bytes_) throw ScheduleError("a memory that is in use cannot be made one place");
    Clock clock{};
    for (const auto& [address, place] : places_) wait_for(clock, place.clock);
    places_.clear();
    of_size_.clear();
    runs_.clear();
    by_bytes_.clear();
    all_ = {};
    free_bytes_ = 0;
    if (bytes_ > 0) give(base_, bytes_, clock, clock != Clock{} ? now_ : 0, Age::kNewest);
}

// The first of the places in which to take `bytes` bytes, by the rules of the header; none if no run is long enough.
Places::Place* Places::choose(std::uint64_t bytes) {
    const auto same = of_size_.find(bytes);
    Place* best = same == of_size_.end() ? nullptr : same->second.first;
    std::uint64_t limit = best ? kMuchLonger * (now_ - best->since + 1) : 0;  // that an age must be beyond
    bool any = best == nullptr;
    int left = kLook;
    for (Place* place = all_.first; place != nullptr && left > 0; place = place->age.behind, --left) {
        if (place->since != 0 && !any && now_ - place->since <= limit) break;
        if (run_of(place->address)->second < bytes) continue;
        const auto [first, since] = window(*place, bytes);
        if (since == 0) return first;
        if (any || now_ - since > limit) {
            best = first;
            limit = kMuchLonger * (now_ - since);
            any = false;
        }
    }
    if (best == nullptr) {
        const auto run = by_bytes_.lower_bound({bytes, 0});
        if (run != by_bytes_.end()) best = &places_.find(run->second)->second;
    }
    return best;
}

// Places of `bytes` bytes in all within the run of `place`, that one included: the first of them, and since when all
// of them have been free. The run is long enough.
std::pair<Places::Place*, std::uint64_t> Places::window(Place& place, std::uint64_t bytes) {
    ++windows_;
    auto first = places_.find(place.address);
    std::uint64_t end = place.address + place.bytes, since = place.since;
    for (auto next = std::next(first); end - first->first < bytes; ++next) {
        if (next == places_.end() || next->first != end) break;
        end += next->second.bytes;
        since = std::max(since, next->second.since);
    }
    while (end - first->first < bytes) {
        --first;
        since = std::max(since, first->second.since);
    }
    return {&first->second, since};
}

// Removes `bytes` bytes from the beginning of `first`, or from the end of a place never used; what remains of a place
// stays as it was.
Places::Taken Places::take(Place& place, std::uint64_t bytes, bool small) {
    Place taken = remove(place);
    const std::uint64_t begin = taken.address;
    if (small && taken.since == 0 && taken.bytes > bytes) {
        give(begin, taken.bytes - bytes, taken.clock, 0, Age::kLongestFree);
        return {begin + taken.bytes - bytes, taken.clock};
    }
    Clock clock = taken.clock;
    std::uint64_t end = begin + taken.bytes;
    while (end < begin + bytes) {
        taken = remove(places_.find(end)->second);
        wait_for(clock, taken.clock);
        end += taken.bytes;
    }
    if (end > begin + bytes) {
        give(begin + bytes, end - begin - bytes, taken.clock, taken.since, Age::kLongestFree);
    }
    return {begin, clock};
}

// -- the indices ----------------------------------------------------------------------------------

void Places::give(std::uint64_t address, std::uint64_t bytes, const Clock& clock, std::uint64_t since, Age age) {
    Place& place = places_.emplace(address, Place{address, bytes, clock, since, {}, {}}).first->second;
    auto& same = of_size_[bytes];
    if (age == Age::kNewest) {
        all_.push_back(place);
        same.push_back(place);
    } else {
        all_.push_front(place);
        same.push_front(place);
    }
    free_bytes_ += bytes;
    std::uint64_t begin = address, end = address + bytes;
    auto behind = runs_.lower_bound(address);
    if (behind != runs_.begin()) {
        const auto before = std::prev(behind);
        if (before->first + before->second == address) {
            begin = before->first;
            drop_run(before);
        }
    }
    behind = runs_.find(end);
    if (behind != runs_.end()) {
        end += behind->second;
        drop_run(behind);
    }
    add_run(begin, end - begin);
}

Places::Place Places::remove(Place& place) {
    const Place found = place;
    all_.erase(place);
    const auto same = of_size_.find(found.bytes);
    same->second.erase(place);
    if (same->second.first == nullptr) of_size_.erase(same);
    places_.erase(found.address);
    free_bytes_ -= found.bytes;
    const auto run = run_of(found.address);
    const std::uint64_t begin = run->first, end = begin + run->second, behind = found.address + found.bytes;
    drop_run(run);
    if (begin < found.address) add_run(begin, found.address - begin);
    if (end > behind) add_run(behind, end - behind);
    return found;
}

// The run that the place at `address` is part of.
Places::Runs::iterator Places::run_of(std::uint64_t address) { return std::prev(runs_.upper_bound(address)); }

void Places::add_run(std::uint64_t address, std::uint64_t bytes) {
    runs_.emplace(address, bytes);
    by_bytes_.emplace(bytes, address);
}

void Places::drop_run(Runs::iterator run) {
    by_bytes_.erase({run->second, run->first});
    runs_.erase(run);
}

}  // namespace minisim

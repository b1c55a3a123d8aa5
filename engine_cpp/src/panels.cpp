#include "minisim/panels.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <tuple>
#include <utility>

namespace minisim {

namespace {

// Tiles a side up to which the best cuts are searched; larger grids are first cut into about equal parts.
constexpr std::int64_t kLimit = 32;

constexpr std::int64_t kSkew = kPanelSkew;

// Steps at a panel's beginning and end that are walked tile by tile of the streamed side (more, if there is room). So the
// accumulators of a panel are not all finished, and stored, and needed by the next, at once: for machines that finish
// tiles faster than they can store them.
constexpr std::int64_t kRamp = 2;

// The candidates: how many tiles a panel keeps free (kPanelAhead); beside those how many more that the panels are not cut
// for: the largest then have fewer, but most are smaller,
constexpr std::array<std::int64_t, 2> kTight{0, 2};

// and the share of the memory of partial sums that it takes. Less than all leaves room for what the next panel shares.
constexpr std::array<double, 8> kShares{1.0, 0.85, 0.7, 0.5, 0.35, 0.25, 0.12, 0.06};

// Estimates that differ by less are taken as equal.
constexpr double kAbout = 1.03;

// Plans whose loads are reckoned at most, those with the least bounds; and panels of each of which that is done.
constexpr std::size_t kReckoned = 64, kPrefix = 256;

// Panels up to which they are chained, which takes the square of their number.
constexpr std::size_t kChained = 128;

using Panels = std::vector<Panel>;

// The edges of `size` tiles in parts of about equal size, at most kLimit each.
std::vector<std::int64_t> parts(std::int64_t size) {
    const std::int64_t count = (size + kLimit - 1) / kLimit;
    std::vector<std::int64_t> found;
    for (std::int64_t i = 0; i <= count; ++i) {
        const double edge = static_cast<double>(i) * static_cast<double>(size) / static_cast<double>(count);
        found.push_back(static_cast<std::int64_t>(std::nearbyint(edge)));
    }
    return found;
}

// The best guillotine partitions of all grids up to kLimit x kLimit tiles: those whose panels load the fewest bytes
// for a step of k. Where one panel fits it is the best: a cut counts some edges twice.
class Cuts {
public:
    // `fits`: of each height, a bit for each width.
    using Fits = std::array<std::uint64_t, kLimit + 1>;

    Cuts(const Fits& fits, std::int64_t rows, std::int64_t cols, std::int64_t a, std::int64_t b) {
        for (std::int64_t m = 1; m <= rows; ++m) {
            for (std::int64_t n = 1; n <= cols; ++n) {
                auto& best = cost_[m][n];
                auto& cut = cut_[m][n];
                if ((fits[m] >> n & 1) != 0) {
                    best = m * a + n * b, cut = 0;
                    continue;
                }
                best = std::numeric_limits<std::int64_t>::max();
                // of equal costs the most even cut, so the halves are searched from the middle outwards
                for (std::int64_t i = m / 2; i >= 1; --i) {
                    const auto both = cost_[i][n] + cost_[m - i][n];
                    if (both < best) best = both, cut = static_cast<std::int8_t>(i);
                }
                for (std::int64_t j = n / 2; j >= 1; --j) {
                    const auto both = cost_[m][j] + cost_[m][n - j];
                    if (both < best) best = both, cut = static_cast<std::int8_t>(-j);
                }
            }
        }
    }

    void split(const Panel& whole, Panels& found) const {
        const std::int64_t where = cut_[whole.height()][whole.width()];
        if (where == 0) {
            found.push_back(whole);
        } else if (where > 0) {
            split({whole.m0, whole.m0 + where, whole.n0, whole.n1}, found);
            split({whole.m0 + where, whole.m1, whole.n0, whole.n1}, found);
        } else {
            split({whole.m0, whole.m1, whole.n0, whole.n0 - where}, found);
            split({whole.m0, whole.m1, whole.n0 - where, whole.n1}, found);
        }
    }

private:
    std::array<std::array<std::int64_t, kLimit + 1>, kLimit + 1> cost_;
    std::array<std::array<std::int8_t, kLimit + 1>, kLimit + 1> cut_;  // +i: after i rows; -j: after j columns
};

// Bytes that loads may run ahead into: even with nothing kept free a step has two operands.
double free_bytes(const PanelBudget& budget) {
    if (budget.ahead != 0) return static_cast<double>(budget.ahead);
    return 0.9 * static_cast<double>(std::max(budget.a, budget.b));
}

using Size = std::pair<std::int64_t, std::int64_t>;

// A grid cut into panels: of each size of its parts the panels, as if it began at 0.
using Partition = std::map<Size, Panels>;

class Search {
public:
    Search(std::int64_t rows, std::int64_t depth, std::int64_t cols, const PanelBudget& budget, const PanelPace& pace)
        : depth_(depth), rows_(parts(rows)), cols_(parts(cols)), budget_(budget), pace_(pace) {
        std::map<std::int64_t, double> heights, widths;
        for (std::size_t i = 1; i < rows_.size(); ++i) heights[rows_[i] - rows_[i - 1]] += 1;
        for (std::size_t j = 1; j < cols_.size(); ++j) widths[cols_[j] - cols_[j - 1]] += 1;
        for (const auto& [height, of_height] : heights) {
            for (const auto& [width, of_width] : widths) sizes_[{height, width}] = of_height * of_width;
        }
    }

    PanelPlan best();

private:
    struct Plan {
        std::size_t partition;
        PanelBudget budget;
        double bound;
    };

    struct Reckoned {
        std::size_t plan;
        double loaded, cycles;
    };

    std::vector<Plan> plans();
    Reckoned reckon(const Plan& plan, const Panels& begun, std::size_t number) const;
    std::size_t partition(const PanelBudget& budget);
    double bound(const Partition& partition, const PanelBudget& budget) const;
    Panels panels(const Partition& partition, std::size_t most) const;
    std::int64_t step_bytes(const Panels& panels) const;

    std::int64_t depth_;
    std::vector<std::int64_t> rows_, cols_;
    std::map<Size, double> sizes_;  // of the parts, and how many have each: four at most
    PanelBudget budget_;
    PanelPace pace_;
    std::map<Cuts::Fits, std::size_t> known_;
    std::vector<Partition> partitions_;
};

// Every candidate once, with its bound.
std::vector<Search::Plan> Search::plans() {
    std::vector<Plan> found;
    const std::int64_t tile = std::max(budget_.a, budget_.b);
    for (const std::int64_t ahead : kPanelAhead) {
        for (const double share : kShares) {
            PanelBudget cut_for = budget_;
            cut_for.ahead = ahead * tile;
            cut_for.most = static_cast<std::int64_t>(share * static_cast<double>(budget_.for_sums()));
            if (ahead != 0 && !cut_for.fits(1, 1)) continue;
            const std::size_t at = partition(cut_for);
            for (const std::int64_t more : kTight) {
                PanelBudget kept_free = budget_;
                kept_free.ahead = cut_for.ahead + more * tile;
                kept_free.most = std::numeric_limits<std::int64_t>::max();
                const bool is_known = std::any_of(found.begin(), found.end(), [&](const Plan& x) {
                    return x.partition == at && x.budget.ahead == kept_free.ahead;
                });
                if (!is_known) found.push_back({at, kept_free, bound(partitions_[at], kept_free)});
            }
        }
    }
    return found;
}

std::size_t Search::partition(const PanelBudget& budget) {
    const std::int64_t rows = sizes_.rbegin()->first.first, cols = sizes_.rbegin()->first.second;
    Cuts::Fits fits{};
    for (std::int64_t m = 1; m <= rows; ++m) {
        for (std::int64_t n = 1; n <= cols; ++n) {
            if ((m == 1 && n == 1) || budget.fits(m, n)) fits[m] |= std::uint64_t{1} << n;
        }
    }
    const auto [at, is_new] = known_.try_emplace(fits, partitions_.size());
    if (is_new) {
        const Cuts cuts(fits, rows, cols, budget.a, budget.b);
        Partition found;
        for (const auto& [size, count] : sizes_) cuts.split({0, size.first, 0, size.second}, found[size]);
        partitions_.push_back(std::move(found));
    }
    return at->second;
}

// Bytes that the panels load for a step of k, each by itself.
std::int64_t Search::step_bytes(const Panels& panels) const {
    std::int64_t found = 0;
    for (const auto& p : panels) found += p.height() * budget_.a + p.width() * budget_.b;
    return found;
}

// Cycles that a plan does not take less than by the estimate, whatever the order of its panels: a panel finds at most
// what the one before it could keep.
double Search::bound(const Partition& partition, const PanelBudget& budget) const {
    double loaded = 0, kept = 0, stalls = 0;
    const double each = std::max(0.0, static_cast<double>(budget.c) * pace_.store - pace_.execute);
    const double ahead = free_bytes(budget) * pace_.load;
    for (const auto& [size, found] : partition) {
        const double count = sizes_.at(size);
        loaded += count * static_cast<double>(depth_ * step_bytes(found));
        for (const auto& p : found) {
            kept += count * static_cast<double>(std::max<std::int64_t>(0, budget.spare(p.height(), p.width())));
            stalls += count * std::max(0.0, static_cast<double>(p.height() * p.width()) * each - ahead);
        }
    }
    const double compulsory = static_cast<double>(depth_ * (rows_.back() * budget.a + cols_.back() * budget.b));
    const Panels whole{{0, rows_.back(), 0, cols_.back()}};
    PanelPace without_stores = pace_;
    without_stores.store = 0;  // so that there are no stalls
    const double busy = panel_cycles(whole, budget, depth_, std::max(compulsory, loaded - kept), without_stores);
    const double stored = static_cast<double>(rows_.back() * cols_.back() * budget.c);
    return std::max(busy, stored * pace_.store) + stalls;
}

// The panels of the grid in their order, but no more than about so many of them.
Panels Search::panels(const Partition& partition, std::size_t most) const {
    double count = 0;
    std::map<Size, Panels> ordered;
    for (const auto& [size, found] : partition) {
        count += sizes_.at(size) * static_cast<double>(found.size());
        ordered[size] = found.size() <= kChained ? chained(found) : found;
    }
    const bool as_a_whole = count <= static_cast<double>(kChained);
    Panels found;
    for (std::size_t i = 1; i < rows_.size(); ++i) {
        for (std::size_t j = 1; j < cols_.size(); ++j) {
            // to and fro, so that parts behind each other are neighbours
            const std::size_t at = i % 2 != 0 || as_a_whole ? j : cols_.size() - j;
            const Size size{rows_[i] - rows_[i - 1], cols_[at] - cols_[at - 1]};
            for (const auto& p : (as_a_whole ? partition : ordered).at(size)) {
                const std::int64_t m = rows_[i - 1], n = cols_[at - 1];
                found.push_back({m + p.m0, m + p.m1, n + p.n0, n + p.n1});
            }
            if (found.size() >= most) return found;
        }
    }
    return as_a_whole ? chained(found) : found;
}

PanelPlan Search::best() {
    const std::vector<Plan> all = plans();
    std::vector<std::size_t> least(all.size());
    for (std::size_t i = 0; i < least.size(); ++i) least[i] = i;
    std::stable_sort(least.begin(), least.end(), [&](auto x, auto y) { return all[x].bound < all[y].bound; });

    std::map<std::size_t, Panels> known;
    std::vector<Reckoned> reckoned;
    double fastest = std::numeric_limits<double>::max();
    for (const std::size_t i : least) {
        if (reckoned.size() == kReckoned || all[i].bound > kAbout * fastest) break;
        const auto [begun, is_new] = known.try_emplace(all[i].partition);
        if (is_new) begun->second = panels(partitions_[all[i].partition], kPrefix);
        reckoned.push_back(reckon(all[i], begun->second, i));
        fastest = std::min(fastest, reckoned.back().cycles);
    }
    const auto key = [fastest](const Reckoned& x) {
        return std::make_tuple(x.cycles > kAbout * fastest, x.loaded, x.cycles, x.plan);
    };
    const auto& best = *std::min_element(reckoned.begin(), reckoned.end(),
                                         [&](const auto& x, const auto& y) { return key(x) < key(y); });
    const Plan& chosen = all[best.plan];
    return {panels(partitions_[chosen.partition], std::numeric_limits<std::size_t>::max()), chosen.budget};
}

// What the first panels of a plan take, and so all.
Search::Reckoned Search::reckon(const Plan& plan, const Panels& begun, std::size_t number) const {
    double whole = 0;  // bytes of a step of all panels
    for (const auto& [size, found] : partitions_[plan.partition]) {
        whole += sizes_.at(size) * static_cast<double>(step_bytes(found));
    }
    const double more = std::max(1.0, whole / static_cast<double>(step_bytes(begun)));
    const auto loaded = static_cast<double>(panel_loads(begun, plan.budget, depth_));
    return {number, more * loaded, more * panel_cycles(begun, plan.budget, depth_, loaded, pace_)};
}

}  // namespace

std::int64_t PanelBudget::spare(std::int64_t pm, std::int64_t pn) const {
    const std::int64_t step = keeps_a(pm, pn) ? pm * a + (pm + kSkew - 1) / kSkew * b : pn * b + (pn + kSkew - 1) / kSkew * a;
    const std::int64_t held = apart != 0 ? 0 : pm * pn * sums;
    return sram - held - step - fixed - ahead;
}

bool PanelBudget::fits(std::int64_t pm, std::int64_t pn) const {
    return spare(pm, pn) >= 0 && pm * pn * sums <= std::min(most, for_sums());
}

PanelPlan best_panels(std::int64_t rows, std::int64_t depth, std::int64_t cols, const PanelBudget& budget,
                      const PanelPace& pace) {
    return Search(rows, depth, cols, budget, pace).best();
}

// Whole rows of A tiles and columns of B tiles, here "edges", are the units. Between two panels, what both leave spare is
// given to the edges that are needed again soonest (Belady at panel grain).
std::int64_t panel_loads(const std::vector<Panel>& panels, const PanelBudget& budget, std::int64_t depth) {
    constexpr std::size_t kNever = std::numeric_limits<std::size_t>::max();
    std::int64_t rows = 0, cols = 0;
    for (const auto& p : panels) rows = std::max(rows, p.m1), cols = std::max(cols, p.n1);
    struct Edge {
        std::size_t following;  // the panel that needs it next
        std::int64_t number;    // first rows, then columns
        std::int64_t kept;      // bytes
        bool operator<(const Edge& other) const {
            return std::tie(following, number) < std::tie(other.following, other.number);
        }
    };
    const auto each_edge = [rows](const Panel& p, auto&& fn) {
        for (std::int64_t m = p.m0; m < p.m1; ++m) fn(m);
        for (std::int64_t n = p.n0; n < p.n1; ++n) fn(rows + n);
    };
    std::vector<std::size_t> soonest(static_cast<std::size_t>(rows + cols), kNever);
    std::vector<std::vector<Edge>> edges(panels.size());
    for (std::size_t t = panels.size(); t-- > 0;) {
        each_edge(panels[t], [&](std::int64_t number) {
            const std::int64_t size = depth * (number < rows ? budget.a : budget.b);
            edges[t].push_back({soonest[static_cast<std::size_t>(number)], number, size});
            soonest[static_cast<std::size_t>(number)] = t;
        });
    }
    std::vector<Edge> kept, shared;
    std::int64_t loaded = 0;
    for (std::size_t t = 0; t < panels.size(); ++t) {
        shared.clear();
        for (const auto& edge : kept) {
            if (edge.following == t) {
                loaded -= edge.kept;
            } else {
                shared.push_back(edge);
            }
        }
        for (const auto& edge : edges[t]) {
            loaded += edge.kept;
            if (edge.following != kNever) shared.push_back(edge);
        }
        std::int64_t room = budget.spare(panels[t].height(), panels[t].width());
        if (t + 1 < panels.size()) room = std::min(room, budget.spare(panels[t + 1].height(), panels[t + 1].width()));
        kept.clear();
        if (room <= 0) continue;
        std::sort(shared.begin(), shared.end());
        for (auto edge : shared) {
            edge.kept = std::min(edge.kept, room);
            room -= edge.kept;
            kept.push_back(edge);
            if (room == 0) break;
        }
    }
    return loaded;
}

// A load occupies a free place for `turnaround` cycles, so `ahead` bytes of free places pass ahead / turnaround bytes per
// cycle (Little's law), or less because loads are needed in bursts. When a panel ends, its accumulators are stored,
// perhaps more slowly than they are finished; what is left over delays the next panel, but for what was loaded ahead.
double panel_cycles(const std::vector<Panel>& panels, const PanelBudget& budget, std::int64_t depth, double loaded,
                    const PanelPace& pace) {
    double area = 0, stalls = 0, left = 0;
    const double ahead = free_bytes(budget);
    const double each = std::max(0.0, static_cast<double>(budget.c) * pace.store - pace.execute);
    for (const auto& p : panels) {
        stalls += std::max(0.0, left - ahead * pace.load);
        const auto tiles = static_cast<double>(p.height() * p.width());
        area += tiles;
        left = tiles * each;
    }
    const double stored = area * static_cast<double>(budget.c);
    const double busy = std::max({area * static_cast<double>(depth) * pace.execute, loaded * pace.load,
                                  stored * pace.store, (loaded + stored) * pace.dram,
                                  kPanelBursts * loaded * pace.turnaround / ahead});
    return busy + stalls + left;
}

std::vector<Panel> chained(const std::vector<Panel>& panels) {
    std::vector<Panel> left = panels, found;
    found.reserve(panels.size());
    std::vector<std::int64_t> away(panels.size());
    while (!left.empty()) {
        if (found.empty()) {
            found.push_back(left.front());
            left.erase(left.begin());
            continue;
        }
        const Panel& last = found.back();
        const auto distance = [&last](const Panel& p) {
            return std::abs(p.m0 + p.m1 - last.m0 - last.m1) + std::abs(p.n0 + p.n1 - last.n0 - last.n1);
        };
        std::int64_t farthest = 0;
        for (const auto& p : panels) farthest = std::max(farthest, distance(p));
        double best = -std::numeric_limits<double>::infinity();
        std::size_t at = 0;
        for (std::size_t i = 0; i < left.size(); ++i) {
            const Panel& p = left[i];
            const std::int64_t shared = std::max<std::int64_t>(0, std::min(p.m1, last.m1) - std::max(p.m0, last.m0)) +
                                        std::max<std::int64_t>(0, std::min(p.n1, last.n1) - std::max(p.n0, last.n0));
            const double score = static_cast<double>(shared) -
                                 static_cast<double>(distance(p)) / static_cast<double>(1 + farthest);
            if (score > best) best = score, at = i;
        }
        found.push_back(left[at]);
        left.erase(left.begin() + static_cast<std::ptrdiff_t>(at));
    }
    return found;
}

PanelWalk walk_panels(const std::vector<Panel>& panels, const PanelBudget& budget, std::int64_t depth, bool ramped) {
    std::size_t count = 0;
    for (const auto& p : panels) count += static_cast<std::size_t>(p.height() * p.width() * depth);
    PanelWalk found;
    for (auto* column : {&found.m, &found.n, &found.k}) column->reserve(count);
    for (const auto& p : panels) {
        const bool keeps_a = budget.keeps_a(p.height(), p.width());
        const std::int64_t kept = keeps_a ? p.height() : p.width(), streamed = keeps_a ? p.width() : p.height();
        const auto emit = [&](std::int64_t k, std::int64_t j, std::int64_t i) {
            found.m.push_back(p.m0 + (keeps_a ? i : j));
            found.n.push_back(p.n0 + (keeps_a ? j : i));
            found.k.push_back(k);
        };
        std::int64_t ramp = 0;
        if (ramped) {
            const std::int64_t spare = std::max<std::int64_t>(0, budget.spare(p.height(), p.width()));
            const std::int64_t room = spare / (kept * (keeps_a ? budget.a : budget.b));
            ramp = std::min({kRamp + room, 2 * kRamp, depth / 2});
        }
        const auto tile_by_tile = [&](std::int64_t first, std::int64_t end) {
            for (std::int64_t j = 0; j < streamed; ++j) {
                for (std::int64_t k = first; k < end; ++k) {
                    for (std::int64_t i = 0; i < kept; ++i) emit(k, j, i);
                }
            }
        };
        tile_by_tile(0, ramp);
        // between the ramps a step for each streamed tile, and the i-th of the kept ones i / kSkew steps late
        const std::int64_t first = ramp * streamed, end = (depth - ramp) * streamed;
        for (std::int64_t slot = first; slot < end + (kept - 1) / kSkew; ++slot) {
            for (std::int64_t i = 0; i < kept; ++i) {
                const std::int64_t step = slot - i / kSkew;
                if (first <= step && step < end) emit(step / streamed, step % streamed, i);
            }
        }
        tile_by_tile(depth - ramp, depth);
    }
    return found;
}

}  // namespace minisim

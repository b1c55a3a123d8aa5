// What the operands of a convolution must be gathered from. A window that lies in its tile and in its operand may still
// take another pixel than the convolution means, or leave one out; no version and no place tells. So a program says what
// its convolutions are, and here each operand is derived from that, element by element.
#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include "minisim/errors.hpp"
#include "minisim/validate.hpp"
#include "place.hpp"

namespace minisim {
namespace {

// Neighbours in k of one operation: `width` channels of a tap, from channel `channel` of the group on.
struct Unit {
    std::uint32_t at, tap, channel, width;
};

// The units of k elements from `first` on, in the order of k: (channel div block, tap, channel mod block).
std::vector<Unit> units_of(const ConvolutionRow& x, std::uint64_t first, std::uint32_t k) {
    const std::uint64_t taps = std::uint64_t{x.kernel_lines} * x.kernel_columns;
    std::vector<Unit> found;
    for (std::uint32_t at = 0; at < k;) {
        const std::uint64_t position = first + at, block = position / (x.block * taps);
        const std::uint64_t width = std::min<std::uint64_t>(x.block, x.channels - block * x.block);
        const std::uint64_t within = position - block * x.block * taps, inside = within % width;
        const auto size = static_cast<std::uint32_t>(std::min<std::uint64_t>(width - inside, k - at));
        found.push_back({at, static_cast<std::uint32_t>(within / width),
                         static_cast<std::uint32_t>(block * x.block + inside), size});
        at += size;
    }
    return found;
}

// Where the window of each of some pixels of the output begins: the first line and column of its image, which may lie in
// the padding, and the first pixel of the image. Of a transposed convolution, the pixel itself as seen without padding.
struct Corner {
    std::int64_t line, column, image;
};

std::vector<Corner> corners_of(const ConvolutionRow& x, std::uint64_t first, std::uint32_t count) {
    std::vector<Corner> found;
    found.reserve(count);
    const std::uint64_t pixels = std::uint64_t{x.output_lines} * x.output_columns;
    for (std::uint64_t p = first; p < first + count; ++p) {
        const std::uint64_t image = p / pixels, line = p % pixels / x.output_columns, column = p % x.output_columns;
        const auto begin = [&](std::uint64_t at, std::uint32_t stride, std::int64_t pad) {
            return x.transposed != 0 ? static_cast<std::int64_t>(at) + pad : static_cast<std::int64_t>(at * stride) - pad;
        };
        found.push_back({begin(line, x.stride_lines, x.pad_top), begin(column, x.stride_columns, x.pad_left),
                         static_cast<std::int64_t>(image * x.height * x.width)});
    }
    return found;
}

// The pixel of the input that is read at a tap; none in the padding, and between the pixels of a transposed convolution.
std::optional<std::uint64_t> pixel(const ConvolutionRow& x, const Corner& corner, std::uint32_t tap) {
    const std::int64_t down = std::int64_t{tap / x.kernel_columns} * x.dilation_lines;
    const std::int64_t across = std::int64_t{tap % x.kernel_columns} * x.dilation_columns;
    std::int64_t line = corner.line + down, column = corner.column + across;
    if (x.transposed != 0) {
        line = corner.line - down, column = corner.column - across;
        if (line < 0 || line % x.stride_lines != 0 || column < 0 || column % x.stride_columns != 0) return std::nullopt;
        line /= x.stride_lines, column /= x.stride_columns;
    }
    if (line < 0 || line >= x.height || column < 0 || column >= x.width) return std::nullopt;
    return static_cast<std::uint64_t>(corner.image + line * x.width + column);
}

// Visits the rows of a window: that of the operand, and that of the tile.
template <class Visit>
void for_each_row(const WindowRow& w, Visit visit) {
    for (std::uint32_t i = 0; i < w.outer; ++i) {
        for (std::uint32_t j = 0; j < w.inner; ++j) {
            visit(w.at_row + std::uint64_t{i} * w.at_outer + std::uint64_t{j} * w.at_inner,
                  w.from_row + std::uint64_t{i} * w.from_outer + std::uint64_t{j} * w.from_inner);
        }
    }
}

constexpr std::uint32_t kMostChannels = 32;  // of a block: a bit each

std::uint32_t bits(std::uint32_t count) {
    return count >= 32 ? 0xFFFFFFFFu : (std::uint32_t{1} << count) - 1;
}

}  // namespace

void Validator::convolution(std::size_t row) const {
    const Place at{"convolutions", row};
    const ConvolutionRow& x = schedule_.convolutions[row];
    constexpr std::uint32_t kLimit = std::uint32_t{1} << 31;  // so that no sum or product of two overflows
    for (const std::uint32_t value :
         {x.images, x.height, x.width, x.output_lines, x.output_columns, x.kernel_lines, x.kernel_columns,
          x.stride_lines, x.stride_columns, x.dilation_lines, x.dilation_columns, x.channels, x.groups, x.filters_each}) {
        if (value == 0 || value >= kLimit) at.fail("sizes, steps and counts must be from 1 to 2147483647");
    }
    if (x.transposed > 1) at.fail("transposed must be 0 or 1, not " + std::to_string(x.transposed));
    if (std::min(x.pad_top, x.pad_left) < 0 && x.transposed == 0) at.fail("padding must not be below 0");
    if (x.along_channels > 1) at.fail("along_channels must be 0 or 1, not " + std::to_string(x.along_channels));
    const std::uint64_t kernel = std::uint64_t{x.kernel_lines} * x.kernel_columns;
    if (x.taps == 0 || x.taps > kernel) {
        at.fail("taps must be from 1 to " + std::to_string(kernel) + ", those of the kernel, not " +
                std::to_string(x.taps));
    }
    if (x.block == 0 || x.block > kMostChannels) at.fail("block must be from 1 to 32, not " + std::to_string(x.block));
    // A part of a tensor, of rows x cols elements, each a product of counts.
    const auto part = [&](const char* field, std::uint32_t tensor, std::uint32_t first, std::uint32_t col,
                          std::array<std::uint32_t, 3> rows, std::array<std::uint32_t, 2> cols) {
        at.below(field, tensor, schedule_.tensors.size);
        const TensorRow& found = schedule_.tensors[tensor];
        std::uint64_t count = 1, width = std::uint64_t{cols[0]} * cols[1];
        for (const std::uint32_t each : rows) {
            count = std::min<std::uint64_t>(count * each, kLimit);
        }
        if (first + count > found.rows || col + width > found.cols) {
            at.fail(std::string(field) + " has no such part: its shape is (" + std::to_string(found.rows) + ", " +
                    std::to_string(found.cols) + ")");
        }
    };
    part("x", x.x, x.x_row, x.x_col, {x.images, x.height, x.width}, {x.channels, x.groups});
    if (x.filters == kNone && (x.channels != 1 || x.filters_each != 1)) {
        at.fail("filters may be NONE where each channel is a group");
    }
    if (x.filters != kNone) {
        part("filters", x.filters, x.filters_row, x.filters_col, {x.kernel_lines, x.kernel_columns, x.channels},
             {x.filters_each, x.groups});
    }
    part("y", x.y, x.y_row, x.y_col, {x.images, x.output_lines, x.output_columns}, {x.filters_each, x.groups});
}

namespace {

bool makes(const ConvolutionRow& x, const TileRow& t) {
    const std::uint64_t rows = std::uint64_t{x.images} * x.output_lines * x.output_columns;
    const std::uint64_t cols = std::uint64_t{x.filters_each} * x.groups;
    return t.tensor == x.y && t.row >= x.y_row && std::uint64_t{t.row} + t.rows <= x.y_row + rows &&
           t.col >= x.y_col && std::uint64_t{t.col} + t.cols <= x.y_col + cols;
}

}  // namespace

// The convolution whose output the tile is a part of; nullptr if there is none.
const ConvolutionRow* Validator::convolution_of(std::uint32_t tile) const {
    for (const ConvolutionRow& x : schedule_.convolutions) {
        if (makes(x, schedule_.tiles[tile])) return &x;
    }
    return nullptr;
}

// A, if the operation is a part of a convolution: each pixel and channel that it means, once, and nothing else.
void Validator::gathered(const Place& at, const MatmulRow& row) const {
    const ConvolutionRow* found = convolution_of(row.c);
    if (found == nullptr) return;
    const ConvolutionRow& x = *found;
    if (x.filters == kNone || x.along_channels != 0 || x.taps != x.kernel_lines * x.kernel_columns) {
        at.fail("c must be no part of what folds make");
    }
    const TileRow &c = schedule_.tiles[row.c], &b = schedule_.tiles[row.b];
    at.equal("a", row.a, kNone, "the operand of a convolution is gathered");
    at.equal("the tensor of b", b.tensor, x.filters, "it has the convolution's filters");
    at.equal("b_transposed", row.b_transposed, 0, "filters lie in the order of k");
    if (b.row < x.filters_row || b.row + std::uint64_t{row.k} > x.filters_row + std::uint64_t{x.channels} *
                                     x.kernel_lines * x.kernel_columns || b.col < x.filters_col) {
        at.fail("b must be a part of the convolution's filters");
    }
    const std::uint32_t first_filter = c.col - x.y_col, group = first_filter / x.filters_each;
    at.equal("the first filter of b", b.col - x.filters_col, first_filter, "that of c");
    if ((first_filter + row.n - 1) / x.filters_each != group) at.fail("c must be of one group of filters");

    const std::vector<Unit> units = units_of(x, b.row - x.filters_row, row.k);
    const std::vector<Corner> corners = corners_of(x, c.row - x.y_row, row.m);
    std::vector<std::uint32_t> taken(units.size() * row.m);  // channels of a unit, by unit and row: a bit each
    const std::uint64_t first_channel = x.x_col + std::uint64_t{group} * x.channels;
    schedule_.for_each_piece(row, [&](const PieceRow& piece) {
        const TileRow& tile = schedule_.tiles[piece.tile];
        at.equal("the tensor of a piece", tile.tensor, x.x, "it is the convolution's input");
        schedule_.for_each_window(piece, [&](const WindowRow& w) {
            std::size_t u = 0;
            while (w.at_col >= units[u].at + units[u].width) ++u;
            const Unit& unit = units[u];
            const std::uint32_t inside = w.at_col - unit.at;
            if (inside + std::uint64_t{w.cols} > unit.width) at.fail("a window must be of one tap, and block of channels");
            at.equal("the channel that a window takes", std::uint64_t{tile.col} + w.from_col,
                     first_channel + unit.channel + inside, "that of its columns in k");
            const std::uint32_t mine = bits(w.cols) << inside;
            for_each_row(w, [&](std::uint64_t r, std::uint64_t from) {
                const std::optional<std::uint64_t> meant = pixel(x, corners[r], unit.tap);
                if (!meant) {
                    at.fail("a window must leave row " + std::to_string(r) + " at tap " + std::to_string(unit.tap) +
                            " to the padding");
                }
                at.equal("the pixel that a window takes", tile.row + from, x.x_row + *meant, "that of its tap");
                std::uint32_t& so_far = taken[u * row.m + r];
                if (so_far & mine) at.fail("two windows take the same pixel and channel");
                so_far |= mine;
            });
        });
    });
    for (std::size_t u = 0; u < units.size(); ++u) {
        for (std::uint32_t r = 0; r < row.m; ++r) {
            if (taken[u * row.m + r] != bits(units[u].width) && pixel(x, corners[r], units[u].tap)) {
                at.fail("no window takes all channels of row " + std::to_string(r) + " at tap " +
                        std::to_string(units[u].tap));
            }
        }
    }
}

namespace {

// Whether two rows have the same input, filters and geometry: they are cuts of one chain.
bool is_one_chain(ConvolutionRow a, const ConvolutionRow& b) {
    a.y = b.y, a.y_row = b.y_row, a.y_col = b.y_col, a.taps = b.taps;
    return std::memcmp(&a, &b, sizeof a) == 0;
}

// What a fold takes at one tap for one pixel of a tile of its output: the same channels of a pixel of the input, or of the
// same pixel channels further on. In columns [low, high) of the operand, channels from `channel` on.
struct Taken {
    std::uint64_t pixel;
    std::int64_t low, high, channel;
};

// The operand of a fold as its output's tile means it.
class Meant {
public:
    Meant(const ConvolutionRow& x, const TileRow& dst)
        : x_(x), pixel_(dst.row - x.y_row), channel_(dst.col - x.y_col), cols_(dst.cols) {
        if (x.along_channels == 0) corners_ = corners_of(x, pixel_, dst.rows);
    }

    const ConvolutionRow& of() const { return x_; }

    // None in the padding.
    std::optional<Taken> at(std::uint32_t row, std::uint32_t tap) const {
        if (x_.along_channels == 0) {
            const std::optional<std::uint64_t> from = pixel(x_, corners_[row], tap);
            if (!from) return std::nullopt;
            return Taken{*from, 0, cols_, channel_};
        }
        const std::int64_t first = channel_ + std::int64_t{tap} * x_.dilation_columns - x_.pad_left;
        const std::int64_t low = std::max<std::int64_t>(0, -first);
        const std::int64_t high = std::min<std::int64_t>(cols_, x_.groups - first);
        if (low >= high) return std::nullopt;
        return Taken{pixel_ + row, low, high, first + low};
    }

private:
    const ConvolutionRow& x_;
    std::uint64_t pixel_;
    std::int64_t channel_;
    std::uint32_t cols_;
    std::vector<Corner> corners_;
};

// One, or where the images that are made are put together out of several, one for each of these: every stride-th pixel.
std::vector<Meant> meant_of(const TileRow& dst, const Table<ConvolutionRow>& convolutions) {
    std::vector<Meant> found;
    for (const ConvolutionRow& x : convolutions) {
        if (makes(x, dst)) found.emplace_back(x, dst);
    }
    return found;
}

bool takes_one(const Meant& each) {
    const ConvolutionRow& x = each.of();
    return x.kernel_lines == 1 && x.kernel_columns == 1 && x.filters == kNone;
}

}  // namespace

// A fold goes on from what the taps before its own have left for the same part of the output, or it has the first one.
void Validator::goes_on(const Place& at, const VectorRow& row, const ConvolutionRow& x, std::uint32_t first) const {
    if (first == 0) {
        at.equal("acc", row.acc, kNone, "the first tap is among its own");
        return;
    }
    if (row.acc == kNone) at.fail("acc must hold the taps before the first of its own, tap " + std::to_string(first));
    const ConvolutionRow* before = convolution_of(row.acc);
    if (before == nullptr || !is_one_chain(*before, x)) at.fail("acc must be of the chain that dst is of");
    at.equal("the taps that acc is made of", before->taps, first, "those before its own");
    const TileRow &acc = schedule_.tiles[row.acc], &dst = schedule_.tiles[row.dst];
    at.equal("the first row of acc", acc.row - before->y_row, dst.row - x.y_row, "that of dst");
    at.equal("the first column of acc", acc.col - before->y_col, dst.col - x.y_col, "that of dst");
}

// Of a chain all operations are of one kind, by whether there are filters; what comes behind a chain comes at its end.
void Validator::of_chain(const Place& at, const VectorRow& row, const ConvolutionRow& x) const {
    if ((x.filters != kNone) != (info(static_cast<VectorOp>(row.op)).sources > 1)) {
        at.fail("a fold multiplies if, and only if, what it makes has filters");
    }
    const bool ends = x.taps == std::uint64_t{x.kernel_lines} * x.kernel_columns;
    if (!ends && (row.src2 != kNone || row.activation != 0)) at.fail("bias and activation come behind the last tap");
}

// The operand of a fold: each element that it means, once, and nothing else; and the weights of its taps.
void Validator::folded(const Place& at, const VectorRow& row) const {
    const ConvolutionRow* found = convolution_of(row.dst);
    if (found == nullptr) return;
    const ConvolutionRow& x = *found;
    if (x.channels != 1 || x.filters_each != 1) at.fail("a fold must have a group for each channel");
    if (row.taps > x.taps) at.fail("taps must be at most " + std::to_string(x.taps) + ", those that dst is made of");
    const TileRow& dst = schedule_.tiles[row.dst];
    const std::uint32_t first_tap = x.taps - row.taps;
    goes_on(at, row, x, first_tap);
    of_chain(at, row, x);
    at.below("rows x taps", std::uint64_t{row.rows} * row.taps, std::uint64_t{1} << 31);
    if (row.src1 != kNone) {
        const TileRow& weights = schedule_.tiles[row.src1];
        at.equal("the tensor of src1", weights.tensor, x.filters, "the weights of its taps");
        at.equal("the first tap of src1", std::uint64_t{weights.row} - x.filters_row, first_tap, "its own");
        at.equal("the first channel of src1", weights.col - x.filters_col, dst.col - x.y_col, "that of dst");
    }
    const std::vector<Meant> operands = meant_of(dst, schedule_.convolutions);
    if (operands.size() > 1 && !std::all_of(operands.begin(), operands.end(), takes_one)) {
        at.fail("of images that are put together each pixel must be one of theirs");
    }
    std::vector<bool> taken(std::size_t{row.rows} * row.taps);
    schedule_.for_each_piece(row, [&](const PieceRow& piece) {
        const TileRow& tile = schedule_.tiles[piece.tile];
        const auto found = std::find_if(operands.begin(), operands.end(),
                                        [&](const Meant& each) { return each.of().x == tile.tensor; });
        const Meant& operand = found == operands.end() ? operands.front() : *found;
        at.equal("the tensor of a piece", tile.tensor, operand.of().x, "it is the fold's input");
        schedule_.for_each_window(piece, [&](const WindowRow& w) {
            for_each_row(w, [&](std::uint64_t r, std::uint64_t from) {
                const auto meant = operand.at(static_cast<std::uint32_t>(r / row.taps),
                                              first_tap + static_cast<std::uint32_t>(r % row.taps));
                if (!meant) at.fail("a window must leave row " + std::to_string(r) + " to the padding");
                at.equal("the pixel that a window takes", tile.row + from, operand.of().x_row + meant->pixel,
                         "that of its tap");
                const bool whole = w.at_col == meant->low && std::int64_t{w.at_col} + w.cols == meant->high;
                if (!whole) at.fail("a window must take all channels that are there");
                at.equal("the channel that a window takes", std::uint64_t{tile.col} + w.from_col,
                         static_cast<std::uint64_t>(operand.of().x_col + meant->channel), "that of its columns");
                if (taken[r]) at.fail("two windows take the same pixel at the same tap");
                taken[r] = true;
            });
        });
    });
    for (std::size_t r = 0; r < taken.size(); ++r) {
        const auto is_meant = [&](const Meant& each) {
            return each.at(static_cast<std::uint32_t>(r / row.taps),
                           first_tap + static_cast<std::uint32_t>(r % row.taps)).has_value();
        };
        if (!taken[r] && std::any_of(operands.begin(), operands.end(), is_meant)) {
            at.fail("no window takes row " + std::to_string(r));
        }
    }
}

}  // namespace minisim

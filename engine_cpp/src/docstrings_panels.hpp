// What help() says of panels. Part of bindings.cpp.
#pragma once

namespace minisim::doc {

constexpr char kBestPanels[] =
    R"(The panels for a grid of rows x depth x cols tiles: the fewest bytes of those that are about fastest.

Args:
    budget: a minisim.compiler.panels.Budget.
    pace: a minisim.compiler.panels.Pace.

Returns:
    the panels in order, int64 of shape (panels, 4): m0, m1, n0, n1; and the bytes that they keep free.)";

constexpr char kPanelLoads[] =
    R"(Estimated bytes of A and B that panels, rows of m0, m1, n0, n1, load for `depth` steps of k.)";

constexpr char kPanelCycles[] =
    R"(Estimated cycles of panels that load so many bytes for `depth` steps of k.)";

constexpr char kChainedPanels[] =
    R"(The panels in an order in which neighbours share rows or columns, and are close together.)";

constexpr char kWalkPanels[] =
    R"(The executes of panels as columns m, n, k: panels in order, k ascending for each output tile.)";

constexpr char kPanelSpare[] =
    R"(The bytes that a panel of pm x pn tiles leaves beside its accumulators, one step's tiles, `fixed` and `ahead`.)";

constexpr char kPanelKeepsA[] =
    R"(Whether a step of a panel of pm x pn tiles keeps its column of A and streams B, or else keeps its row of B.)";

constexpr char kPanelFits[] = R"(Whether a panel of pm x pn tiles fits a budget.)";

}  // namespace minisim::doc

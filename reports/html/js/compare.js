// A comparison: its table of layers.

sortable($("#layer-table"));
searchable($("#layer-table"), $("#find"), { found: $("#found") });
document.documentElement.dataset.ready = "yes";

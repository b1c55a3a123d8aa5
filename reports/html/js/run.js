// The pictures of a run.

roofline($("#roofline-chart"));
bandwidth($("#bandwidth-chart"));
occupancy($("#occupancy-chart"));
timelineOf($("#bars")).then((timeline) => { document.documentElement.dataset.ready = "yes"; window.timeline = timeline; });

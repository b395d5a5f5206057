// In front of each page's own script: its facts, its templates, and what becomes of a requeue.
var PAGE = JSON.parse(document.getElementById("page").textContent);
var POLL_INTERVAL = PAGE["poll_interval"];
var AUTOREFRESH_FLAG = 1;

// The pages ask for templates by name. Compiled ahead, they need no eval; all that they insert is escaped.
_.template = function (name) { return TEMPLATES[name.trim()]; };

$(document).ajaxComplete(function (event, answer, request) {
    if (request.type !== "POST") return;
    var said = answer.responseJSON ? answer.responseJSON.message : answer.responseText;
    var good = answer.status === 200;
    $("#notice").text(said || "No answer from the dashboard.")
        .toggleClass("alert-success", good).toggleClass("alert-danger", !good)
        .stop(true, true).show().delay(6000).fadeOut();
});

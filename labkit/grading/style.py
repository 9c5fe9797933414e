"""How the grading pages look: the style of `lab show`, wider, with what tables, bars and cards need."""

from __future__ import annotations

from labkit.show_web import CSS as LESSON

CSS = (
    LESSON
    + """
:root { --right: #2f6f4f; --wrong: #b3541e; --rest: #767d86; --warn: #fbf0dc; }
@media (prefers-color-scheme: dark) { :root { --right: #7cc3a0; --wrong: #e59866; --rest: #8d959f; --warn: #35291a; } }
html { -webkit-text-size-adjust: 100%; }
main { max-width: 60rem; padding-top: 2.5rem; }
main > p, main > ul, main > ol, section > p, section > ul, section > ol { max-width: 44rem; }
h1, h2, h3, td, dd, li, p, summary { overflow-wrap: anywhere; }
h1 { margin-bottom: .4rem; }
h4 { margin: 1.2rem 0 .3rem; font-size: 1rem; }
.skip { position: absolute; left: -200vw; }
.skip:focus { position: fixed; left: 1rem; top: 1rem; padding: .5rem 1rem; background: var(--page); z-index: 1; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 3px; }
main:focus { outline: none; }
.lede, .soft, figcaption, caption { color: var(--soft); }
.lede { margin: 0 0 1.6rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; list-style: none; padding: 0; margin: 0 0 1.6rem;
  font: .9rem/1.7 system-ui, sans-serif; }
nav a, td a { display: inline-block; min-height: 24px; min-width: 24px; }
.note { background: var(--warn); border-left: 4px solid var(--wrong); padding: .7rem 1.1rem; margin: 1rem 0; }
.note p { margin: .2rem 0; max-width: 44rem; }
.teach > li { margin: .9rem 0; }
.teach ul { margin: .2rem 0 0; padding-left: 1.2rem; }
.wide:focus-visible { outline-offset: 4px; }
.wide td, .wide th { overflow-wrap: break-word; }
.wide td { max-width: 28rem; }
.pinned th:first-child { position: sticky; left: 0; background: var(--page); }
.pinned tbody th:first-child { min-width: 7rem; max-width: 14rem; overflow-wrap: anywhere; }
caption { text-align: left; font-size: .85rem; padding-bottom: .4rem; }
tbody th { font-weight: 500; font-size: .9rem; border-bottom: 1px solid var(--line); }
.n { text-align: right; white-space: nowrap; }
svg { display: block; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
figure { margin: 1.2rem 0; }
figure svg { width: 100%; max-width: 34rem; height: auto; }
.right { fill: var(--right); } .wrong { fill: var(--wrong); } .rest { fill: var(--rest); } .axis { stroke: var(--soft); }
.hatch { stroke: var(--page); stroke-width: 1.5; }
.passed { color: var(--right); } .failed { color: var(--wrong); }
.card { border: 1px solid var(--line); border-radius: 8px; padding: .2rem 1.1rem .9rem; margin: 1.1rem 0; }
.card h3 { margin: .7rem 0 .5rem; }
dl { display: grid; grid-template-columns: 6.5rem minmax(0, 1fr); gap: .35rem .9rem; margin: .6rem 0; }
dt { color: var(--soft); font-size: .9rem; }
dd { margin: 0; }
dd code, pre code { white-space: pre-wrap; overflow-wrap: anywhere; }
dd code { background: none; padding: 0; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; overflow: hidden; }
.likely { border-left: 3px solid var(--wrong); padding-left: .9rem; }
footer { max-width: 60rem; margin: 0 auto; padding: 0 1.25rem 2rem; color: var(--soft); font-size: .85rem; }
@media (max-width: 36rem) { dl { grid-template-columns: minmax(0, 1fr); gap: .1rem; } dd { margin-bottom: .5rem; }
  main { padding-top: 1.5rem; }
  th, td { padding: .4rem .5rem; } .card { padding: .1rem .8rem .7rem; } }
@media (prefers-reduced-motion: no-preference) { html { scroll-behavior: smooth; } }
@media print { :root { --right: #1d5c3c; --wrong: #8f3d10; --rest: #777; --warn: #fff; }
  main, main > p, section > p { max-width: none; } nav, .skip { display: none; } .card, tr, figure { break-inside: avoid; }
  details { break-inside: auto; } .wide { overflow: visible; } table { break-inside: auto; width: 100%; }
  .always::details-content { content-visibility: visible; block-size: auto; } }
"""
)

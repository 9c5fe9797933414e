"""`lab grade`: what a learning platform exports goes in, a gradebook comes out.

    intake      folders, archives and rosters → students and what they turned in, or a named refusal
    work        each file against its labs' specs, in a sandbox, on seeds nobody has seen → verdicts
    policy      points, deadlines, slip days → marks
    gradebook   CSV for Canvas and Moodle, JSON, JUnit and Gradescope's results.json
    pages       one report on the class, one page a student
    similarity  who may have shared, and how sure one can be

Everything in between is plain data: see `records`.
"""

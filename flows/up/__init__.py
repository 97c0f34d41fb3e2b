"""`quantfarm up`: everything of the farm on one machine, kept running.

parts       what is started: the Prefect server, the serving process, the dashboard, a Ray head
kept        one part as a process: started, asked whether it answers, started again when it dies
farm        all of them together, one per home
checks      what is looked at, at the start and every few minutes
late        runs of schedules that were missed: once, not n times
going_on    sweeps that were cut off are gone on with
again       runs that died before that are begun again
state       HOME/up/state.json, for `quantfarm up --status` and whoever wants to know

Nothing here imports Prefect: the server is asked over HTTP, so that the one who watches stays small.
"""

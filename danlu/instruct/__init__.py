"""Self-instruct (Wang et al. 2022): tasks, their material and their answers, made by asking a model.

Some tasks by people are shown to a model, which writes more; of each the model writes what it works on, and
the answer. What is like something known, too short, too long, cut off or in another language is dropped, with
the reason written down.
"""

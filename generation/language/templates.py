"""How a look is named in a prompt."""


def styled(prompt: str, look: str, template: str) -> str:
    """Name the look the way the checkpoint was taught to hear it.

    >>> styled("a fox", "3d", "{prompt}, {look} style")
    'a fox, 3d style'
    """
    return template.replace("{look}", look).replace("{prompt}", prompt)

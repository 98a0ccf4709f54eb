"""Language models that answer in words: scenario JSON, validated strictly."""

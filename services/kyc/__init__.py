"""Onboarding: is this application anomalous, by itself or through what it shares with others?"""

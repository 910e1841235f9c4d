"""credit: will this applicant default?"""

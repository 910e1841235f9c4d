"""What each model version reads; one line per version, kept as long as the version may serve."""

from __future__ import annotations

from feast import FeatureService

from account_features import account_profile, account_tiles
from applicant_features import applicant_facts
from device_features import device_tiles
from identity_features import address_tiles, applicant_device_tiles, document_tiles, email_tiles, phone_tiles
from link_features import address_links, device_links, document_links, email_links, phone_links
from merchant_features import merchant_profile, merchant_tiles

payments = [account_profile, account_tiles, device_tiles, merchant_profile, merchant_tiles]
links = [applicant_device_tiles, document_tiles, phone_tiles, email_tiles, address_tiles]
alerts = [device_links, document_links, phone_links, email_links, address_links]

fraud_v1 = FeatureService(name="fraud_v1", features=payments)
credit_v1 = FeatureService(name="credit_v1", features=[applicant_facts])
kyc_v1 = FeatureService(name="kyc_v1", features=[*links, *alerts])
